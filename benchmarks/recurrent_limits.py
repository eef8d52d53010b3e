"""What the LSTM costs besides time: memory, long sequences, compilation.

    python -m benchmarks.recurrent_limits [--torch-python PYTHON]

Writes results/recurrent_limits.json. PyTorch as in recurrent_speed.py; every measurement of ours
that depends on a fresh start is made in a process of its own.
"""

import collections
import datetime
import multiprocessing
import os
import statistics
import tempfile
from pathlib import Path

import numpy as np
import tyro

from benchmarks import commands
from benchmarks.recurrent_speed import (
    SHAPES,
    Shape,
    TorchWorker,
    make_keras_steps,
    make_torch_environment,
)
from benchmarks.torch_lstm import peak_memory
from common.runs import cli, directory, files

LENGTHS = (100, 1_000, 10_000)


def main(*, rounds: int = 15, torch_python: Path | None = None, only: tuple[str, ...] = ()) -> None:
    """Measures one thing after the other and prints it.

    Args:
        rounds: Timed turns of each.
        only: Names in the results to measure again; the others stay as they are there.
        torch_python: A Python that has PyTorch; made in runs/torch when not given.
    """
    cli.start_tensorflow_quietly()
    python = torch_python or make_torch_environment()
    machine = directory.environment(seed=1)
    report = {
        "command": "python -m benchmarks.recurrent_limits",
        "date": datetime.date.today().isoformat(),
        "git_commit": machine["git_commit"],
        "machine": f"{machine['cpu_count']} CPU cores, {machine['processor']}",
        "rounds": rounds,
    }
    measures = {
        "first_step": lambda: alone(first_step),
        "compilations": lambda: alone(compilations),
        "microseconds_a_step": lambda: microseconds_a_step(rounds),
        "memory_mib": lambda: [memory(shape, python) for shape in SHAPES],
    }
    path = commands.RESULTS / "recurrent_limits.json"
    stored = files.read_json(path) if only else {}
    for name, measure in measures.items():
        report[name] = stored[name] if only and name not in only else measure()
        print(name, report[name], flush=True)
    files.write_json(path, report)


def alone(function, *arguments):
    """Calls it in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def first_step() -> dict:
    """Seconds of the first training step with nothing compiled yet, and of the second."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NUMBA_CACHE_DIR"] = folder
        train = make_keras_steps(SHAPES[0], None, ours=True)["train"]
        return {"first": round(train(), 2), "second": round(train(), 3)}


def compilations() -> dict:
    """Of an epoch of 60 batches, each of another size and length: how often what was compiled."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NUMBA_CACHE_DIR"] = folder
        return count_compilations()


def count_compilations() -> dict:
    """See `compilations`; nothing is compiled yet."""
    import keras
    from numba.core import event

    from common.lstm import layer as fast_lstm

    layer = fast_lstm.Bidirectional(fast_lstm.LSTM(32, return_sequences=True))
    inputs = keras.Input((None, 8))
    model = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs)))
    model.compile("sgd", "mse")
    random = np.random.default_rng(1)
    shapes = [(int(b), int(t)) for b, t in random.integers(1, 100, (60, 2))]

    def batches():
        for shape in shapes:
            yield (
                random.normal(size=(*shape, 8)).astype("float32"),
                np.zeros((*shape, 1), "float32"),
            )

    traces, run = [], fast_lstm.run
    fast_lstm.run = lambda *arguments, **options: traces.append(1) or run(*arguments, **options)
    with event.install_recorder("numba:compile") as recorder:
        model.fit(batches(), steps_per_epoch=len(shapes), shuffle=False, verbose=0)
    functions = collections.Counter(
        compilation.data["dispatcher"] for _, compilation in recorder.buffer if compilation.is_start
    )
    return {
        "batches": len(shapes),
        "shapes": len(set(shapes)),
        "traced": len(traces),
        "machine_code": max(functions.values()),  # of one function
    }


def microseconds_a_step(rounds: int) -> dict:
    """Training time by length; the same number a step means that time is linear in length."""
    microseconds = {}
    for length in LENGTHS:
        train = make_keras_steps(Shape(4, length, 32, 64, True, 1), None, ours=True)["train"]
        train()
        median = statistics.median(train() for _ in range(rounds))
        microseconds[length] = round(1e6 * median / length, 1)
    return microseconds


def memory(shape: Shape, python: Path | None) -> dict:
    """MiB that five training steps take at their peak, besides what the process held before."""
    peaks = {"shape": list(shape), "ours": round(alone(our_memory, shape))}
    if python is not None:
        torch = TorchWorker(python)
        torch.make_steps(shape)
        peaks["torch"] = round(float(torch.ask({"do": "memory"})))
        torch.process.kill()
    return peaks


def our_memory(shape: Shape) -> float:
    """See `memory`; the machine code is there from earlier calls."""
    train = make_keras_steps(shape._replace(batch=1, time=1), None, ours=True)["train"]
    train()
    train = make_keras_steps(shape, None, ours=True)["train"]
    return peak_memory(train)


if __name__ == "__main__":
    tyro.cli(main)
