"""Milliseconds of a call in TensorFlow, ONNX Runtime and LiteRT, side by side in one run.

    python -m benchmarks.runtimes_speed --runs runs/demo

"network" is the numeric core on the same arrays, at batch 1 and 32; LiteRT takes one row at a time
and is not asked for 32. "whole" is the SavedModel beside runtime.py, from raw bytes and strings to
answers, one at a time. Runs and exports are those of `benchmarks.runtimes`.
"""

import datetime
import functools
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tyro

from benchmarks import commands, runtimes
from common.runs import cli, files

FRAMES = 300  # of 10 ms
RUNTIMES = ("onnx", "onnx_int8", "litert", "litert_int8")


def main(*, runs: Path, rounds: int = 15, apps: tuple[str, ...] = ()) -> None:
    """Prints the times and writes results/runtimes_speed.json.

    Args:
        runs: Folder with a run of each app, named after it.
        rounds: Timed calls of each, in turn; the median counts.
        apps: Only these.
    """
    cli.start_tensorflow_quietly()
    report = {
        "command": " ".join(["python -m benchmarks.runtimes_speed", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "cpu_count": os.cpu_count(),
    }
    for app in apps or commands.APPS:
        found = {"whole": in_turn(whole(app, runs / app), rounds)}
        if app == "phoneme_tagging":
            for batch in (1, 32):
                calls = network(runs / app, batch)
                found[f"network, {FRAMES} frames, batch {batch}"] = in_turn(calls, rounds)
        report[app] = found
        print(app, found, flush=True)
    files.write_json(commands.RESULTS / "runtimes_speed.json", report)


def whole(app: str, run_dir: Path) -> dict[str, Callable]:
    """The first validation example, from raw input to answer."""
    import tensorflow as tf

    [example] = runtimes.validation_examples(app, run_dir, 1)
    saved = tf.saved_model.load(str(runtimes.exported(app, run_dir, "saved_model")))
    calls = {"tensorflow": lambda: runtimes.ask_saved_model(app, saved, example.inputs)}
    for format in RUNTIMES:
        ask = runtimes.load_runtime(runtimes.exported(app, run_dir, format))
        calls[format] = lambda ask=ask: ask(**example.inputs)
    return calls


def network(run_dir: Path, batch: int) -> dict[str, Callable]:
    """Features (batch, FRAMES, dim) -> logits, of phoneme tagging."""
    import tensorflow as tf

    from common.runs.directory import RunDirectory

    model = RunDirectory.open(run_dir, app="phoneme_tagging").load_model()
    dim = model.input["features"].shape[-1]
    features = np.random.default_rng(1).normal(size=(batch, FRAMES, dim)).astype(np.float32)
    given = {"features": features, "frame_mask": np.ones((batch, FRAMES), bool)}
    ask = tf.function(functools.partial(model, training=False), autograph=False)
    tensors = {name: tf.constant(value) for name, value in given.items()}
    calls = {"tensorflow": lambda: ask(tensors)["logits"].numpy()}
    for format in RUNTIMES:
        found = runtimes.load_runtime(runtimes.exported("phoneme_tagging", run_dir, format)).network
        if batch <= found.most_rows:
            calls[format] = lambda found=found: found(**given)
    return calls


def in_turn(calls: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Median milliseconds of each, called one after the other."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 2):
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            if turn > 1:
                taken[name].append(1000 * (time.perf_counter() - begun))
    return {name: round(statistics.median(values), 2) for name, values in taken.items()}


if __name__ == "__main__":
    tyro.cli(main)
