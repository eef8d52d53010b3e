"""Times a captioner of PyTorch's LSTMCell on request; caption_speed.py runs it elsewhere.

The same soft attention decoder as apps/image_captioning, written as a PyTorch user writes it. Reads
a JSON object a line: sizes make a network, {"do": "train"} answers with the seconds of a training
step with Adam, {"do": "beam"} with those of a beam search over `images` images.
"""

import json
import sys
import time


def main() -> None:
    """Answers until the input ends."""
    steps: dict = {}
    for line in sys.stdin:
        asked = json.loads(line)
        if "units" in asked:
            steps = make_steps(**asked)
            print("ready", flush=True)
        else:
            begun = time.perf_counter()
            steps[asked["do"]]()
            print(time.perf_counter() - begun, flush=True)


def make_steps(
    *,
    images: int,
    captions: int,
    time: int,
    regions: int,
    channels: int,
    vocab: int,
    dim: int,
    words: int,
    units: int,
    asked: int,
    beam: int,
) -> dict:
    """A training step and a beam search."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]
    from torch.nn import functional  # pyright: ignore[reportMissingImports]

    torch.manual_seed(1)

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.project, self.embed = nn.Linear(channels, dim), nn.Embedding(vocab, words)
            self.first = nn.Linear(dim, 2 * units)
            self.key, self.query = nn.Linear(dim, asked), nn.Linear(units, asked, bias=False)
            self.score, self.gate = nn.Linear(asked, 1, bias=False), nn.Linear(units, 1)
            self.cell = nn.LSTMCell(words + dim, units)
            self.deep, self.out = nn.Linear(units + dim, words), nn.Linear(words, vocab, bias=False)

        def start(self, grid):
            seen = functional.relu(self.project(grid))
            hidden, cell = torch.tanh(self.first(seen.mean(1))).chunk(2, -1)
            return seen, self.key(seen), hidden, cell

        def step(self, embedded, seen, keys, hidden, cell):
            # One memory for all rows of an image: (images, rows of it, regions, ..)
            query = self.query(hidden).view(len(keys), -1, 1, asked)
            weights = self.score(torch.tanh(keys[:, None] + query)).squeeze(-1).softmax(-1)
            context = torch.matmul(weights, seen).view(-1, dim)
            context = torch.sigmoid(self.gate(hidden)) * context
            hidden, cell = self.cell(torch.cat([embedded, context], -1), (hidden, cell))
            return hidden, cell, context, weights

        def tell(self, embedded, hidden, context):
            told = torch.cat([hidden, context], -1)
            return self.out(torch.tanh(self.deep(told) + embedded))

    decoder = Decoder()
    optimizer = torch.optim.Adam(decoder.parameters())
    grid = torch.rand(images, regions, channels)
    token_ids = torch.randint(vocab, (images * captions, time + 1))

    def train():
        optimizer.zero_grad()
        seen, keys, hidden, cell = decoder.start(grid)
        hidden, cell = (one.repeat_interleave(captions, 0) for one in (hidden, cell))
        embedded, hiddens, contexts, looked = decoder.embed(token_ids[:, :-1]), [], [], 0
        for t in range(time):
            hidden, cell, context, weights = decoder.step(embedded[:, t], seen, keys, hidden, cell)
            hiddens.append(hidden)
            contexts.append(context)
            looked = looked + weights
        logits = decoder.tell(embedded, torch.stack(hiddens, 1), torch.stack(contexts, 1))
        loss = functional.cross_entropy(logits.flatten(0, 1), token_ids[:, 1:].flatten())
        loss = loss + 0.01 * (1 - looked).square().sum(-1).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 5.0)
        optimizer.step()

    @torch.no_grad()
    def search():
        seen, keys, hidden, cell = decoder.start(grid)
        hidden, cell = (one.repeat_interleave(beam, 0) for one in (hidden, cell))
        last = torch.zeros(images * beam, dtype=torch.long)
        scores = torch.full((images, beam), float("-inf"))
        scores[:, 0] = 0
        written, offset = [], torch.arange(images)[:, None] * beam
        for _ in range(time):
            embedded = decoder.embed(last)
            hidden, cell, context, _ = decoder.step(embedded, seen, keys, hidden, cell)
            log_probs = decoder.tell(embedded, hidden, context).log_softmax(-1)
            total = (scores[..., None] + log_probs.view(images, beam, vocab)).flatten(1)
            scores, places = total.topk(beam, -1)
            rows = (places // vocab + offset).flatten()
            hidden, cell, last = hidden[rows], cell[rows], (places % vocab).flatten()
            written = [one[rows] for one in written] + [last]

    return {"train": train, "beam": search}


if __name__ == "__main__":
    main()
