"""Times our LSTM beside stock Keras and PyTorch: full and ragged sequences, float32 and bfloat16.

    python -m benchmarks.recurrent_speed [--torch-python PYTHON]

The three take turns, so that a slow spell of the machine falls on all of them. A turn is some steps
one after the other, as in a training, and begins when the threads of the one before are asleep;
its first steps, which find other numbers in the caches, do not count. Figures are medians, ratios
are within this run. "exported" is our forward pass as a SavedModel has it. PyTorch runs in an
environment of its own (runs/torch), made at first use; without it its columns are left out.
bfloat16: Keras' mixed_bfloat16, PyTorch's autocast.
"""

import datetime
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro

from benchmarks import commands
from common.runs import cli, directory, files

TORCH = "torch==2.13.0"


class Shape(NamedTuple):
    """One case of the table."""

    batch: int
    time: int
    input_dim: int
    units: int
    bidirectional: bool
    layers: int


BEFORE, TIMED = 2, 6  # steps of a turn
SHAPES = [
    Shape(64, 100, 128, 256, False, 1),
    Shape(32, 300, 123, 128, True, 2),
    Shape(128, 40, 50, 141, True, 3),
    Shape(64, 12, 300, 512, False, 1),
    Shape(1, 100, 128, 256, True, 1),
]


def main(*, rounds: int = 5, torch_python: Path | None = None) -> None:
    """Prints the table and writes results/recurrent_speed.json.

    Args:
        rounds: Turns of each; one more comes before them.
        torch_python: A Python that has PyTorch; made in runs/torch when not given.
    """
    cli.start_tensorflow_quietly()

    python = torch_python or make_torch_environment()
    torch = None if python is None else TorchWorker(python)
    peak = gemm_peak()
    print(f"GEMM rate {peak:.0f} GFLOP/s; medians of {rounds * TIMED} steps, ms", flush=True)
    results = []
    for shape, case in itertools.product(SHAPES, ("full", "ragged", "bfloat16")):
        lengths, low = ragged_lengths(shape) if case == "ragged" else None, case == "bfloat16"
        steps = {
            "ours": make_keras_steps(shape, lengths, ours=True, bfloat16=low),
            "keras": make_keras_steps(shape, lengths, ours=False, bfloat16=low),
        }
        if torch is not None:
            steps["torch"] = torch.make_steps(shape, lengths, bfloat16=low)
        share = 1.0 if lengths is None else float(lengths.mean() / shape.time)
        seconds = take_turns(steps, rounds)
        rate = share * num_operations(shape) / seconds["train"]["ours"] / 1e9
        row = {"shape": shape._asdict(), "case": case, "real_share": round(share, 3)}
        results.append({**row, "seconds": seconds, "train_gflops": round(rate, 1)})
        print_row(results[-1], peak)
    print_means(results)
    from common.lstm import layer as fast_lstm

    machine = directory.environment(seed=1)
    report = {
        "command": "python -m benchmarks.recurrent_speed",
        "date": datetime.date.today().isoformat(),
        "git_commit": machine["git_commit"],
        "machine": f"{machine['cpu_count']} CPU cores, {machine['processor']}",
        "kernel": fast_lstm.LSTM(1).computed_by,
        "gemm_gflops": round(peak, 1),
        "rounds": rounds,
        "rows": results,
    }
    files.write_json(commands.RESULTS / "recurrent_speed.json", report)


def ragged_lengths(shape: Shape) -> np.ndarray:
    """Uniform between 30 and 100 % of the time; the longest is there."""
    random = np.random.default_rng(1)
    lengths = random.integers(int(0.3 * shape.time), shape.time + 1, shape.batch)
    lengths[0] = shape.time
    return lengths


def make_keras_steps(shape: Shape, lengths, *, ours: bool, bfloat16: bool = False) -> dict:
    """Training step and forward pass of a stack of layers, ours or Keras' own."""
    import keras
    import tensorflow as tf

    from common.lstm import layer as fast_lstm

    keras.utils.set_random_seed(1)
    kinds, dtype = fast_lstm if ours else keras.layers, "mixed_bfloat16" if bfloat16 else "float32"
    layers = []
    for _ in range(shape.layers):
        layer = kinds.LSTM(shape.units, return_sequences=True, dtype=dtype)
        if shape.bidirectional:
            layer = kinds.Bidirectional(layer, dtype=dtype)
        layers.append(layer)
    inputs = tf.random.normal([shape.batch, shape.time, shape.input_dim])
    mask = None if lengths is None else tf.sequence_mask(lengths, shape.time)

    def run(training):
        values = inputs
        for layer in layers:
            values = layer(values, mask=mask, training=training)
        return values

    run(False)
    weights = [weight.value for layer in layers for weight in layer.trainable_weights]

    @tf.function
    def train():
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_mean(tf.square(tf.cast(run(True), tf.float32)))
        # Sums, so that every gradient is computed and little is returned.
        gradients: Any = tape.gradient(loss, [inputs, *weights])
        return [tf.reduce_sum(gradient) for gradient in gradients]

    exported = tf.function(lambda: run(False))

    @tf.function
    def forward():
        with fast_lstm.machine_code():
            return run(False)

    def timed(function):
        begun = time.perf_counter()
        function()[0].numpy()
        return time.perf_counter() - begun

    steps = {"train": lambda: timed(train), "forward": lambda: timed(forward)}
    return steps | ({"exported": lambda: timed(exported)} if ours else {})


def take_turns(steps: dict, rounds: int) -> dict:
    """Median seconds: {"train": {name: seconds}, "forward": {…}}."""
    seconds = {
        kind: {name: [] for name, by_kind in steps.items() if kind in by_kind}
        for kind in ("train", "forward", "exported")
    }
    for turn in range(1 + rounds):
        for kind, by_name in seconds.items():
            for name, taken in by_name.items():
                time.sleep(0.1)  # the threads of the one before still wait actively for a while
                values = [steps[name][kind]() for _ in range(BEFORE + TIMED)]
                taken += values[BEFORE:] if turn else []
    return {
        kind: {name: round(statistics.median(taken), 5) for name, taken in by_name.items()}
        for kind, by_name in seconds.items()
    }


def num_operations(shape: Shape) -> float:
    """Multiplications and additions of the matrix products of one training step."""
    directions = 1 + shape.bidirectional
    total = 0
    for layer in range(shape.layers):
        input_dim = shape.input_dim if layer == 0 else shape.units * directions
        total += directions * 2 * (input_dim + shape.units) * 4 * shape.units
    return 3.0 * shape.batch * shape.time * total


def gemm_peak() -> float:
    """The best rate of a large matrix product in GFLOP/s; what is shared with others varies."""
    import tensorflow as tf

    matrix = tf.random.normal([2048, 2048])
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)))
    best = np.inf
    for _ in range(100):
        begun = time.perf_counter()
        product().numpy()
        best = min(best, time.perf_counter() - begun)
    return 2 * 2048**3 / best / 1e9


def print_row(row: dict, peak: float) -> None:
    """One line for one shape."""
    shape = ",".join(str(size) for size in row["shape"].values())
    cells = [shape, row["case"], f"{row['real_share']:.2f}"]
    for kind, seconds in row["seconds"].items():
        cells += [f"{kind}:", *(f"{name} {1e3 * s:.1f}" for name, s in seconds.items())]
    print("  ".join(cells), f" {row['train_gflops'] / peak:.0%} of the GEMM rate", flush=True)


def print_means(results: list[dict]) -> None:
    """Geometric means of our time over theirs."""
    kinds, cases = ("train", "forward", "exported"), ("full", "ragged", "bfloat16")
    for kind, case in itertools.product(kinds, cases):
        seconds = [row["seconds"] for row in results if row["case"] == case]
        theirs = "train" if kind == "train" else "forward"
        rows = [{**row[theirs], "ours": row[kind]["ours"]} for row in seconds]
        for rival in ("keras", "torch"):
            ratios = [row["ours"] / row[rival] for row in rows if rival in row]
            if ratios:
                mean = statistics.geometric_mean(ratios)
                print(f"{kind}, {case}: {mean:.2f} x {rival} (worst {max(ratios):.2f})")


class TorchWorker:
    """The other process."""

    def __init__(self, python: Path, script: str = "torch_lstm.py"):
        path = Path(__file__).with_name(script)
        self.process = subprocess.Popen(
            [python, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, question: dict) -> str:
        """Its answer to one line."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def make_steps(self, shape: Shape, lengths=None, *, bfloat16: bool = False) -> dict:
        """Training step and forward pass, each giving its seconds; none where it cannot run."""
        sizes = [shape.batch, shape.time, shape.input_dim, shape.units, shape.layers]
        lengths = None if lengths is None else lengths.tolist()
        options = {"bidirectional": shape.bidirectional, "lengths": lengths, "bfloat16": bfloat16}
        if self.ask({"shape": sizes, **options}).strip() != "ready":
            return {}
        return {
            kind: lambda kind=kind: float(self.ask({"do": kind})) for kind in ("train", "forward")
        }


def make_torch_environment() -> Path | None:
    """A Python with PyTorch in runs/torch; None, with a message, when it cannot be had."""
    folder = commands.ROOT / "runs" / "torch"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / "done").exists():
        print(f"installs {TORCH} into {folder}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        done = subprocess.run([python, "-m", "pip", "install", "--quiet", TORCH, "numpy"])
        if done.returncode:
            print(f"could not install {TORCH}: its columns are left out", file=sys.stderr)
            return None
        (folder / "done").touch()
    return python


if __name__ == "__main__":
    tyro.cli(main)
