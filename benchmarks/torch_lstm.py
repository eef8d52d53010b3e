"""Times `torch.nn.LSTM` on request; recurrent_speed.py runs it in an environment of its own.

Reads a JSON object a line: {"shape": [batch, time, input_dim, units, layers], "bidirectional":
bool, "lengths": [...] or null, "bfloat16": bool} builds a layer; {"do": "train" or "forward"}
answers with seconds, {"do": "memory"} with the MiB that five training steps took at their peak.
"""

import json
import sys
import time
from pathlib import Path


def main() -> None:
    """Answers until the input ends."""
    import torch  # pyright: ignore[reportMissingImports]

    torch.manual_seed(1)
    step = {}
    for line in sys.stdin:
        asked = json.loads(line)
        if "shape" in asked:
            step = make_steps(asked)
            print("ready" if can_run(step) else "cannot", flush=True)
        elif asked["do"] == "memory":
            print(peak_memory(step["train"]), flush=True)
        else:
            begun = time.perf_counter()
            step[asked["do"]]()
            print(time.perf_counter() - begun, flush=True)


def can_run(step: dict) -> bool:
    """Whether PyTorch has the layer on this processor: without AVX-512 none in bfloat16."""
    try:
        step["train"]()
    except RuntimeError as error:
        if "could not create a primitive" in str(error):
            return False
        raise
    return True


def make_steps(asked: dict) -> dict:
    """A training step and a forward pass of the layer that is asked for."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch.nn.utils.rnn import pack_padded_sequence  # pyright: ignore[reportMissingImports]

    batch, steps, input_dim, units, layers = asked["shape"]
    lstm = torch.nn.LSTM(
        input_dim, units, layers, batch_first=True, bidirectional=asked["bidirectional"]
    )
    inputs = torch.randn(batch, steps, input_dim, requires_grad=True)
    lengths = asked["lengths"] and torch.tensor(asked["lengths"])

    def run():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=asked["bfloat16"]):
            if lengths is None:
                return lstm(inputs)[0]
            packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
            return lstm(packed)[0].data

    def train():
        lstm.zero_grad()
        inputs.grad = None
        run().float().square().mean().backward()

    def forward():
        with torch.no_grad():
            run()

    return {"train": train, "forward": forward}


def peak_memory(train) -> float:
    """MiB that the process holds at the peak of five training steps beyond those before (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = held("VmRSS")
    for _ in range(5):
        train()
    return held("VmHWM") - before


def held(name: str) -> float:
    """A line of /proc/self/status, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise KeyError(name)


if __name__ == "__main__":
    main()
