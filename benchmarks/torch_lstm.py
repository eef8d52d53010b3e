"""Times `torch.nn.LSTM` on request; recurrent_speed.py runs it in an environment of its own.

Reads a JSON object a line: {"shape": [batch, time, input_dim, units, layers], "bidirectional":
bool, "lengths": [...] or null} builds a layer; {"do": "train" or "forward"} answers with seconds.
"""

import json
import sys
import time

import torch  # pyright: ignore[reportMissingImports]
from torch.nn.utils.rnn import pack_padded_sequence  # pyright: ignore[reportMissingImports]


def main() -> None:
    """Answers until the input ends."""
    torch.manual_seed(1)
    step = {}
    for line in sys.stdin:
        asked = json.loads(line)
        if "shape" in asked:
            step = make_steps(asked)
            print("ready", flush=True)
        else:
            begun = time.perf_counter()
            step[asked["do"]]()
            print(time.perf_counter() - begun, flush=True)


def make_steps(asked: dict) -> dict:
    """A training step and a forward pass of the layer that is asked for."""
    batch, steps, input_dim, units, layers = asked["shape"]
    lstm = torch.nn.LSTM(
        input_dim, units, layers, batch_first=True, bidirectional=asked["bidirectional"]
    )
    inputs = torch.randn(batch, steps, input_dim, requires_grad=True)
    lengths = asked["lengths"] and torch.tensor(asked["lengths"])

    def run():
        if lengths is None:
            return lstm(inputs)[0]
        packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        return lstm(packed)[0].data

    def train():
        lstm.zero_grad()
        inputs.grad = None
        run().square().mean().backward()

    def forward():
        with torch.no_grad():
            run()

    return {"train": train, "forward": forward}


if __name__ == "__main__":
    main()
