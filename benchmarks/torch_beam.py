"""Times a beam search written in PyTorch; beam_speed.py runs it in an environment of its own.

The same decoder, weights and search as there, as one would write them in eager PyTorch. Reads a
JSON object a line: {"weights": path of an .npz, "width": .., "max_steps": .., "start_id": ..,
"end_id": .., "never": ids, "length_penalty": ..} makes it; {"do": "beam"} answers with seconds,
{"do": "scores"} with the scores (batch, width).
"""

import json
import sys
import time


def main() -> None:
    """Answers until the input ends."""
    import torch  # pyright: ignore[reportMissingImports]

    run = None
    for line in sys.stdin:
        asked = json.loads(line)
        if "weights" in asked:
            run = make_search(**asked)
            print("ready", flush=True)
            continue
        assert run is not None
        with torch.inference_mode():
            begun = time.perf_counter()
            found = run()
            seconds = time.perf_counter() - begun
        print(seconds if asked["do"] == "beam" else found[0].tolist(), flush=True)


def make_search(weights, *, width, max_steps, start_id, end_id, never, length_penalty):
    """A function that captions the grids of the file: scores, tokens, attention."""
    import numpy as np
    import torch  # pyright: ignore[reportMissingImports]
    from torch_decoder import Decoder

    stored = dict(np.load(weights))
    grid = torch.from_numpy(stored.pop("grid"))
    decoder = Decoder(stored)
    batch = len(grid)
    rows = torch.arange(batch)[:, None]

    def normaliser(length):
        return ((5 + length) / 6) ** length_penalty

    def run():
        regions, keys, *states = decoder.remember(grid)
        hidden, carry = (state.repeat_interleave(width, 0) for state in states)
        last = torch.full((batch * width,), start_id)
        live = torch.full((batch, width), -torch.inf)
        live[:, 0] = 0.0
        tokens = torch.zeros(batch, width, 0, dtype=torch.long)
        looked = torch.zeros(batch, width, 0, regions.shape[1])
        pool = torch.full((batch, width), -torch.inf)
        pool_tokens = torch.zeros(batch, width, max_steps, dtype=torch.long)
        pool_looked = torch.zeros(batch, width, max_steps, regions.shape[1])
        for length in range(1, max_steps + 1):
            embedded = decoder.embed(last)
            seen, hidden, carry, attention = decoder.step(embedded, hidden, carry, regions, keys)
            log_probs = torch.log_softmax(decoder.tell(embedded, seen), -1)
            log_probs[:, never] = -torch.inf
            if length == 1:
                log_probs[:, end_id] = -torch.inf
            if length == max_steps:  # the end is forced
                log_probs[:, torch.arange(log_probs.shape[1]) != end_id] = -torch.inf
            vocab = log_probs.shape[-1]
            totals = live[..., None] + log_probs.view(batch, width, vocab)
            live, chosen = totals.view(batch, -1).topk(width)
            parents, last = chosen // vocab, chosen % vocab
            tokens = torch.cat([tokens[rows, parents], last[..., None]], -1)
            looked = torch.cat([looked, attention[:, :, None]], 2)[rows, parents]
            flat = (parents + rows * width).flatten()
            hidden, carry = hidden[flat], carry[flat]

            ended = last == end_id
            if ended.any():
                final = torch.where(ended, live / normaliser(length), -torch.inf)
                pool, best = torch.cat([pool, final], 1).topk(width)
                padding = (0, max_steps - length)
                padded = torch.nn.functional.pad(tokens, padding)
                pool_tokens = torch.cat([pool_tokens, padded], 1)[rows, best]
                padded = torch.nn.functional.pad(looked, (0, 0, *padding))
                pool_looked = torch.cat([pool_looked, padded], 1)[rows, best]
                live = torch.where(ended, -torch.inf, live)
            if (live.max(1).values / normaliser(max_steps) <= pool[:, -1]).all():
                break
            last = last.flatten()
        return pool, pool_tokens, pool_looked

    return run


if __name__ == "__main__":
    main()
