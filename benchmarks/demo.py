"""`make demo`: trains, evaluates, exports and asks every app on its default data, and checks it.

    python -m benchmarks.demo [--runs DIR]

An app takes part by `DEMO_FLOORS` in its config (metric -> least value on the test part) and
`example_arguments` in its datasets. Exit code 1 when a figure is below its floor.
"""

import importlib
import itertools
import shutil
import sys
from pathlib import Path

import tyro

from benchmarks import commands
from common import cli
from common.evaluation import Evaluation


def main(*, runs: Path = commands.ROOT / "runs" / "demo") -> None:
    """Runs the demo.

    Args:
        runs: Folder for the runs; an older demo there is replaced.
    """
    cli.start_tensorflow_quietly()  # the data sets' modules import it
    rows, failures = [], []
    for app in commands.APPS:
        folder = runs / app
        shutil.rmtree(folder, ignore_errors=True)
        print(f"{app}: train, evaluate, export, predict in {folder}", flush=True)
        trained = commands.run(app, "train", "--run-dir", folder)
        tested = commands.evaluate(app, folder, "test")
        print(Evaluation(**tested).as_table(), flush=True)
        commands.run(app, "export", "--run-dir", folder)
        example = importlib.import_module(f"apps.{app}.datasets").example_arguments()
        commands.run(
            app, "predict", "--run-dir", folder, *example, "--plot", folder / "example.png"
        )
        answer = ask_saved_model(folder / "saved_model", example)
        for metric, floor in importlib.import_module(f"apps.{app}.config").DEMO_FLOORS.items():
            value = tested["metrics"][metric]
            baselines = {n: m[metric] for n, m in tested["baselines"].items() if metric in m}
            rows.append(
                [
                    app,
                    tested["data"],
                    str(tested["num_examples"]),
                    metric,
                    f"{value:.4f}",
                    f"{floor:.4f}",
                    f"{max(baselines.values()):.4f}",
                    f"{trained.seconds / 60:.1f}",
                    f"{trained.peak_gib:.1f}",
                    answer,
                ]
            )
            if value < floor:
                failures.append(f"{app}: expected {metric} >= {floor}, got {value:.4f}")
    header = [
        "app",
        "data (test)",
        "examples",
        "metric",
        "model",
        "floor",
        "best blind",
        "minutes",
        "GiB",
        "the SavedModel says",
    ]
    print_table([header, *rows])
    if failures:
        sys.exit("\n".join(failures))


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
    files = {name for name, value in given.items() if Path(value).is_file()}
    asked = [Path(value).name if name in files else value for name, value in given.items()]
    inputs = {
        name: tf.constant([Path(value).read_bytes() if name in files else value])
        for name, value in given.items()
    }
    outputs = loaded.signatures[chosen](**inputs)
    # A string where there is one, else the first number, with its name.
    name, said = min(outputs.items(), key=lambda one: (one[1].dtype != tf.string, one[1].ndim))
    first = tf.reshape(said[0], [-1]).numpy().tolist()
    if said.dtype == tf.string:
        answer = " ".join(text.decode() for text, _ in itertools.groupby(first))
    else:
        answer = f"{name} {first[0]:.3f}"
    return f"{' | '.join(asked)} -> {answer}"


def print_table(rows: list[list[str]]) -> None:
    """Prints rows with columns as wide as their widest cell."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


if __name__ == "__main__":
    tyro.cli(main)
