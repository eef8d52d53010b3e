"""Times the training of a caption decoder in PyTorch; captioning_speed.py runs it elsewhere.

The decoder, weights and batch of that module, as one would write them with LSTMCell. Reads a JSON
object a line: {"weights": path of an .npz, "dropout": ..} makes it and answers with its loss
without dropout; {"do": "train"} answers with the seconds of one step.
"""

import json
import sys
import time


def main() -> None:
    """Answers until the input ends."""
    step = None
    for line in sys.stdin:
        asked = json.loads(line)
        if "weights" in asked:
            loss, step = make_step(asked["weights"], asked["dropout"])
            print(loss, flush=True)
            continue
        assert step is not None
        begun = time.perf_counter()
        step()
        print(time.perf_counter() - begun, flush=True)


def make_step(path: str, dropout: float) -> tuple:
    """The loss without dropout, and a function that trains one step."""
    import numpy as np
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    stored = {name: torch.from_numpy(value) for name, value in np.load(path).items()}
    given = {name: stored.pop(name) for name in ("grid", "token_ids", "token_mask", "target")}
    units = stored["lstm/recurrent_kernel"].shape[0]
    entering = torch.cat([stored.pop("lstm/kernel"), stored.pop("see/kernel")])
    cell = nn.LSTMCell(entering.shape[0], units)
    cell.weight_ih.data = entering.T.contiguous()
    cell.weight_hh.data = stored.pop("lstm/recurrent_kernel").T.contiguous()
    cell.bias_ih.data, cell.bias_hh.data = stored.pop("lstm/bias"), torch.zeros(4 * units)
    weights = nn.ParameterDict({name.replace("/", "_"): one for name, one in stored.items()})
    optimizer = torch.optim.Adam([*weights.values(), *cell.parameters()], 1e-3, fused=True)

    def loss_of(share: float):
        def drop(values):
            return nn.functional.dropout(values, share, share > 0)

        grid, ids = given["grid"].float(), given["token_ids"]
        images, captions, time_steps = ids.shape
        flat = grid.flatten(1, 2)
        flat = flat * drop(torch.ones(1, *flat.shape[1:]))  # the same for all images
        projected = torch.relu(flat @ weights["project_kernel"] + weights["project_bias"])
        regions = projected + weights["places"]
        keys = regions @ weights["key_kernel"] + weights["key_bias"]
        first = torch.tanh(regions.mean(1) @ weights["first_kernel"] + weights["first_bias"])
        first = first.repeat_interleave(captions, 0)
        hidden, carry = first.chunk(2, -1)
        embedded = drop(weights["embed_embeddings"][ids.flatten(0, 1).long()])
        seen, looked = [], 0.0
        for t in range(time_steps):
            query = (hidden @ weights["query_kernel"]).view(images, captions, 1, -1)
            energy = torch.tanh(query + keys[:, None]) @ weights["score_kernel"]
            attention = torch.softmax(energy.squeeze(-1), -1)
            context = (attention @ regions).flatten(0, 1)
            gate = torch.sigmoid(hidden @ weights["gate_kernel"] + weights["gate_bias"])
            context = gate * context
            hidden, carry = cell(torch.cat([embedded[:, t], context], -1), (hidden, carry))
            seen.append(torch.cat([hidden, context], -1))
            looked = looked + attention * given["token_mask"][..., t, None]
        real = given["token_mask"].flatten(0, 1)
        told = torch.stack(seen, 1)[real] @ weights["deep_kernel"] + weights["deep_bias"]
        features = drop(torch.tanh(told + embedded[real]))
        logits = features @ weights["embed_reverse_embeddings"]
        uncovered = ((1 - looked) ** 2).sum(-1).mean()
        return nn.functional.cross_entropy(logits, given["target"].long()) + 0.01 * uncovered

    def step():
        optimizer.zero_grad()
        loss_of(dropout).backward()
        nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 5.0)
        optimizer.step()

    with torch.inference_mode():
        return float(loss_of(0.0)), step


if __name__ == "__main__":
    main()
