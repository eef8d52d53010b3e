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
        request = json.loads(line)
        if "weights" in request:
            loss, step = make_step(request["weights"], request["dropout"])
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
    from torch_decoder import Decoder

    stored = dict(np.load(path))
    names = ("grid", "token_ids", "token_mask", "target")
    batch = {name: torch.from_numpy(stored.pop(name)) for name in names}
    decoder = Decoder(stored)
    optimizer = torch.optim.Adam(decoder.parameters(), 1e-3, fused=True)

    def loss_of(share: float):
        def drop(values):
            return nn.functional.dropout(values, share, share > 0)

        grid, ids = batch["grid"], batch["token_ids"]
        captions, time_steps = ids.shape[1:]
        same_for_all = drop(torch.ones(1, grid.shape[1] * grid.shape[2], grid.shape[3]))
        regions, keys, *states = decoder.remember(grid, same_for_all)
        hidden, carry = (state.repeat_interleave(captions, 0) for state in states)
        embedded = drop(decoder.embed(ids.flatten(0, 1).long()))
        outputs, attention_sum = [], torch.zeros(())
        for t in range(time_steps):
            now, hidden, carry, attention = decoder.step(
                embedded[:, t], hidden, carry, regions, keys
            )
            outputs.append(now)
            attention_sum = attention_sum + attention * batch["token_mask"][..., t, None]
        real = batch["token_mask"].flatten(0, 1)
        logits = decoder.tell(embedded[real], torch.stack(outputs, 1)[real], drop)
        uncovered = ((1 - attention_sum) ** 2).sum(-1).mean()
        return nn.functional.cross_entropy(logits, batch["target"].long()) + 0.01 * uncovered

    def step():
        optimizer.zero_grad()
        loss_of(dropout).backward()
        nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 5.0)
        optimizer.step()

    with torch.inference_mode():
        return float(loss_of(0.0)), step


if __name__ == "__main__":
    main()
