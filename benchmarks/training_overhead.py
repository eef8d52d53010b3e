"""Measures what surviving and telling cost a training, and how long a resumed one takes to start.

    python -m benchmarks.training_overhead --app visual_qa

The same epochs of an app at SMALL, each time in a process of its own: by Keras' `fit` alone with
the app's own validation; the same with deterministic operations; and as `train` does them with
`--train.deterministic`, that is with checkpoints, best model, history, events and TensorBoard.
They take turns, for the machine may change; the fastest epoch of each counts.
"""

import datetime
import importlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

import tyro

from benchmarks import commands
from common.runs import cli, files

_PARTS = ("fit", "deterministic fit", "train")


def main(
    *,
    app: Literal["visual_qa", "answer_selection", "phoneme_tagging", "image_captioning"],
    epochs: int = 4,
    rounds: int = 2,
    options: str = "",
) -> None:
    """Prints the figures of docs/guides/training.md and writes a result file of the app.

    Args:
        app: Whose training.
        epochs: Of each training; the first, which traces and compiles, does not count.
        rounds: How often both take turns.
        options: More of `train`, as in --options="--data.max-images 1000".
    """
    seconds = {part: [] for part in _PARTS}
    starts = {"fresh": [], "resumed": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            for part in _PARTS:
                found = _timed(app, part, Path(folder) / part, epochs, options)
                seconds[part] += found["epochs"][1:]
                starts["fresh"] += [found["first_batch"]] if part == "train" else []
            more = f"{options} --resume"
            found = _timed(app, "train", Path(folder) / "train", epochs + 1, more)
            starts["resumed"].append(found["first_batch"])
    fastest = {part: min(taken) for part, taken in seconds.items()}
    report = {
        "command": " ".join(["python -m benchmarks.training_overhead", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} CPU cores",
        "app": app,
        "epoch_seconds": seconds,
        "overhead": {part: fastest[part] / fastest["fit"] - 1 for part in _PARTS[1:]},
        "seconds_to_first_batch": starts,
    }
    files.write_json(commands.RESULTS / f"training_overhead_{app}.json", report)
    print(json.dumps(report, indent=1))


def _timed(app: str, part: str, run: Path, epochs: int, options: str) -> dict:
    """Seconds of each epoch, and from the start of the process to the end of its first batch."""
    out = run.with_name("timed.json")
    code = "from benchmarks import training_overhead as t; t.time_training()"
    given = ["--run-dir", run, "--train.epochs", epochs, "--train.patience", 1000, *options.split()]
    given += [] if part == "fit" else ["--train.deterministic"]
    command = [sys.executable, "-c", code, app, part, out, time.time(), *given]
    subprocess.run([str(word) for word in command], check=True, cwd=commands.ROOT)
    return files.read_json(out)


def time_training() -> None:
    """In a process of its own: app, part, file for the times, when it was started, options."""
    cli.start_tensorflow_quietly()
    import keras

    from common.training import fit as training
    from common.training import strategies

    class Clock(keras.callbacks.Callback):
        """When each epoch began, the last one ended, and the first batch was done."""

        def __init__(self):
            super().__init__()
            self.times, self.first_batch = [], 0.0

        def on_epoch_begin(self, epoch, logs=None):
            self.times.append(time.time())

        def on_train_batch_end(self, batch, logs=None):
            self.first_batch = self.first_batch or time.time()

        def on_train_end(self, logs=None):
            self.times.append(time.time())

    app, part, out, begun = sys.argv[1:5]
    sys.argv[1:5] = []
    fit, clock = training.run_epochs, Clock()

    def fit_alone(model, batches, keep, *, validation_data=None, callbacks=(), **sizes):
        sizes = {name: sizes[name] for name in ("steps_per_epoch", "epochs")}
        held_back = validation_data and strategies.read_by_all(validation_data)
        shown = strategies.read_by_all(batches(0))
        given = {"callbacks": list(callbacks), "shuffle": False, "verbose": 0, **sizes}
        model.fit(shown, validation_data=held_back, **given)

    def timed(model, batches, keep, *, callbacks=(), **others):
        if keep.name != "model":  # a rival, whose epochs are others
            return []
        chosen = fit if part == "train" else fit_alone
        chosen(model, batches, keep, callbacks=[clock, *callbacks], **others)
        epochs = [after - before for before, after in itertools.pairwise(clock.times)]
        files.write_json(
            Path(out), {"epochs": epochs, "first_batch": clock.first_batch - float(begun)}
        )
        raise SystemExit

    training.run_epochs = timed
    module = importlib.import_module(f"apps.{app}.train")
    cli.run(module.main, presets=module.PRESETS)


if __name__ == "__main__":
    tyro.cli(main)
