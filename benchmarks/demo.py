"""`make demo`: trains, evaluates, exports and asks every app on its default data, and checks it.

    python -m benchmarks.demo [--runs DIR] [--lanes N]

The apps go in lanes beside each other, each lane on its share of the processor's cores. An app
takes part by `DEMO_FLOORS` in its config (metric -> least value on the test part) and
`example_arguments` in its datasets. `report.html` in DIR shows the results with their pictures.
Exit code 1 when a figure is below its floor or an app fails.
"""

import functools
import importlib
import itertools
import os
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tyro

from benchmarks import commands, demo_report
from benchmarks.demo_report import Shown
from common.runs import cli, files
from common.runs.directory import cpu_count
from common.scoring.evaluation import Evaluation


def main(*, runs: Path = commands.ROOT / "runs" / "demo", lanes: int | None = None) -> None:
    """Runs the demo.

    Args:
        runs: Folder for the runs; an older demo there is replaced.
        lanes: Apps at a time; by default one a core, and one where there is a GPU, whose memory
            the first would take, or where cores cannot be given out.
    """
    cli.start_tensorflow_quietly()
    import tensorflow as tf

    begun = time.monotonic()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else [0]
    lanes = lanes or (1 if tf.config.list_physical_devices("GPU") else len(cores))
    lanes = max(1, min(lanes, len(commands.APPS), len(cores)))
    free = [cores[lane::lanes] for lane in range(lanes)]

    def take_cores() -> None:
        # Of this thread; the processes it starts inherit them, and count their threads by them.
        if lanes > 1:
            os.sched_setaffinity(0, free[int(threading.current_thread().name.split("_")[-1])])

    with ThreadPoolExecutor(lanes, thread_name_prefix="lane", initializer=take_cores) as pool:
        found = pool.map(functools.partial(show, runs), commands.APPS)
        shown = dict(zip(commands.APPS, found, strict=True))
    minutes = (time.monotonic() - begun) / 60
    print_table(as_rows(shown))
    report = demo_report.write(shown, minutes=minutes, folder=runs)
    print(f"{minutes:.1f} minutes in all; with pictures: {report}")
    failures = [
        f"{app}: expected {metric} >= {floor}, got {one.evaluation.metrics[metric]:.4f}"
        for app, one in shown.items()
        for metric, floor in one.floors.items()
        if one.evaluation.metrics[metric] < floor
    ]
    if failures:
        sys.exit("\n".join(failures))


def show(parent: Path, app: str) -> Shown:
    """All commands of one app."""
    from common.plots import figures

    begun = time.monotonic()
    folder = parent / app
    commands.remove_runs(folder)
    run = functools.partial(commands.run, app, named=True)
    print(f"{app}: train, evaluate, export, predict in {folder}\n", end="", flush=True)
    trained = run("train", "--run-dir", folder)
    settings = importlib.import_module(f"apps.{app}.config")
    monitored = settings.MONITOR.removeprefix("val_")
    history = folder / "history.csv"
    figures.learning_curves(
        history, metrics=["loss", monitored], title="Training", path=folder / "training.png"
    )
    tested = Evaluation(**commands.evaluate(app, folder, "test", named=True))
    run("export", "--run-dir", folder)
    example = importlib.import_module(f"apps.{app}.datasets").example_arguments()
    run("predict", "--run-dir", folder, *example, "--plot", folder / "example.png")
    said = ask_saved_model(folder / "saved_model", example)
    print(f"{tested.as_table()}\n", end="", flush=True)  # as one piece, beside other apps
    return Shown(
        evaluation=tested,
        floors=settings.DEMO_FLOORS,
        cores=cpu_count(),
        minutes=(trained.seconds / 60, (time.monotonic() - begun) / 60),
        peak_gib=trained.peak_gib,
        said=said,
    )


def ask_saved_model(folder: Path, example: list[str]) -> str:
    """Gives the SavedModel the example's files and strings; returns what it says first.

    Asks the signature whose inputs are the options of `predict`, else "serving_default", where an
    input that is no option gets the longest line of the file that no input takes.
    """
    import tensorflow as tf

    options = {name[2:]: value for name, value in zip(example[::2], example[1::2], strict=True)}
    loaded = tf.saved_model.load(str(folder))
    signatures = {
        name: set(one.structured_input_signature[1]) for name, one in loaded.signatures.items()
    }
    fitting = [name for name, inputs in signatures.items() if inputs == set(options)]
    chosen = fitting[0] if fitting else "serving_default"
    given = {name: value for name, value in options.items() if name in signatures[chosen]}
    for name in signatures[chosen] - set(options):
        (spare,) = (value for option, value in options.items() if option not in given)
        given[name] = max(Path(spare).read_text(encoding="utf-8").splitlines(), key=len).strip()
    paths = {name for name, value in given.items() if Path(value).is_file()}
    asked = [Path(value).name if name in paths else value for name, value in given.items()]
    inputs = {
        name: tf.constant([Path(value).read_bytes() if name in paths else value])
        for name, value in given.items()
    }
    outputs = loaded.signatures[chosen](**inputs)
    # A string where there is one, the first that the card names, else a number, with its name.
    card = files.read_json(folder / "assets.extra" / "card.json")
    named = [*card.get("signatures", {}).get(chosen, card)["outputs"]]
    name, said = min(
        outputs.items(),
        key=lambda one: (one[1].dtype != tf.string, one[1].ndim, named.index(one[0])),
    )
    first = tf.reshape(said[0], [-1]).numpy().tolist()
    if said.dtype == tf.string:
        answer = " ".join(text.decode() for text, _ in itertools.groupby(first))
    else:
        answer = f"{name} {first[0]:.3f}"
    return f"{' | '.join(asked)} -> {answer}"


def as_rows(shown: dict[str, Shown]) -> list[list[str]]:
    """The table that ends the demo, one row for each figure that is checked."""
    head = ["app", "data (test)", "examples", "metric", "model", "floor", "best blind", "minutes"]
    rows = [[*head, "GiB", "the SavedModel says"]]
    for app, one in shown.items():
        tested = one.evaluation
        for metric, floor in one.floors.items():
            blind = [found[metric] for found in tested.baselines.values() if metric in found]
            rows.append(
                [
                    app,
                    tested.data,
                    str(tested.num_examples),
                    metric,
                    *(f"{value:.4f}" for value in (tested.metrics[metric], floor, max(blind))),
                    f"{one.minutes[1]:.1f}",
                    f"{one.peak_gib:.1f}",
                    textwrap.shorten(one.said, 100, placeholder="..."),
                ]
            )
    return rows


def print_table(rows: list[list[str]]) -> None:
    """Prints rows with columns as wide as their widest cell."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


if __name__ == "__main__":
    tyro.cli(main)
