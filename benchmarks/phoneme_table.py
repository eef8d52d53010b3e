"""The table of Graves & Schmidhuber (2005): networks with less and less context, on either set.

    python -m benchmarks.phoneme_table [--seeds 1 2 3] [--timit-root DIR --folds 0 1 2 3 4 5]

Every row has the options of SMALL but for its own. Figures are of validation, on which the best
epoch was chosen. Runs that are there already are not repeated, so an interrupted table goes on.
"""

import dataclasses
import datetime
import sys
from pathlib import Path

import numpy as np
import tyro

from benchmarks import commands
from common.runs import cli, files

APP = "phoneme_tagging"
ROWS = {
    "BiLSTM": [],
    "LSTM, 5 frames late": ["--model.direction", "forward", "--model.delay-frames", "5"],
    "LSTM, 10 frames late": ["--model.direction", "forward", "--model.delay-frames", "10"],
    "LSTM": ["--model.direction", "forward"],
    "simple RNN": ["--model.direction", "forward", "--model.cell", "elman"],
    "MLP, 10 frames": ["--model.cell", "mlp", "--model.window-frames", "10"],
    "MLP, 1 frame": ["--model.cell", "mlp"],
}
FOR_TIMIT = (
    "--model.normalization training --model.dropout 0.3 --model.input-noise 0.5 "
    "--augment.speed 0.1 "
    "--train.batch-size 4 --train.learning-rate 2e-3 --train.epochs 30 --train.patience 30"
)
METRICS = ("frame_accuracy_61", "frame_accuracy_39", "phone_error_rate")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    seeds: tuple[int, ...] = (1, 2, 3)
    """One run each, and fold."""
    rows: tuple[str, ...] = tuple(ROWS)
    """Which networks."""
    timit_root: Path | None = None
    """Folder of TIMIT; without it the table is of espeak."""
    folds: tuple[int, ...] = (0,)
    """Of TIMIT: which speakers are held back."""
    name: str | None = None
    """Of the result file; phoneme_table_espeak or phoneme_table_timit by default."""
    runs_dir: Path = commands.ROOT / "runs" / "phoneme_table"
    """Folder for the runs."""


def main(options: Options, train_options: list[str]) -> None:
    """Trains and evaluates every row; writes and prints what is done after each."""
    cli.start_tensorflow_quietly()
    name = "espeak" if options.timit_root is None else "timit"
    result = commands.RESULTS / f"{options.name or f'phoneme_table_{name}'}.json"
    folds = (0,) if options.timit_root is None else options.folds
    report = {
        "command": " ".join(["python -m benchmarks.phoneme_table", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "split": "validation",
        "seeds": list(options.seeds),
        "folds": list(folds),
        "rows": {},
    }
    for row in options.rows:
        more = [*ROWS[row], *train_options]
        if options.timit_root is not None:
            where = ["--data.name", "timit", "--data.root", str(options.timit_root)]
            more = [*where, *FOR_TIMIT.split(), *more]
        done = [
            [
                _run(options.runs_dir / name / row / f"{seed}-{fold}", seed, fold, more)
                for fold in folds
            ]
            for seed in options.seeds
        ]
        report["rows"][row] = summary(done)
        if row != options.rows[0]:
            first = report["rows"][options.rows[0]]
            report["rows"][row]["first_row_ahead"] = ahead(first, report["rows"][row])
        environment = files.read_json(
            options.runs_dir / name / row / f"{options.seeds[0]}-{folds[0]}" / "environment.json"
        )
        report["git_commit"] = environment["git_commit"]
        files.write_json(result, report)
        cells = [report["rows"][row][metric] for metric in METRICS]
        line = "  ".join(f"{100 * one['mean']:6.1f} ± {100 * one['sd']:.1f}" for one in cells)
        print(f"{row:<22}{line}", flush=True)


def _run(folder: Path, seed: int, fold: int, options: list[str]) -> dict[str, dict[str, float]]:
    """The scores of every speaker of one run."""
    if not (folder / "speakers-validation.json").exists():
        resume = ["--resume"] if (folder / "config.json").exists() else []
        more = ["--train.seed", seed, "--data.fold", fold, *options]
        commands.run(APP, "train", "--run-dir", folder, *more, *resume)
        from apps.phoneme_tagging.evaluate import evaluate

        evaluate(folder, with_baselines=False)
    return files.read_json(folder / "speakers-validation.json")


def summary(runs: list[list[dict[str, dict[str, float]]]]) -> dict[str, dict]:
    """Means over speakers: their spread over the seeds, and the spread of the speakers.

    The 95 % interval is that of the mean over speakers, each taken as the mean of its seeds.
    """
    found = {}
    for metric in METRICS:
        table = np.array(
            [[one[metric] for fold in folds for one in fold.values()] for folds in runs]
        )  # (seeds, speakers)
        speakers = table.mean(axis=0)
        names = [speaker for fold in runs[0] for speaker in fold]
        found[metric] = commands.spread(table.mean(axis=1).tolist()) | {
            "interval_95": _interval(speakers),
            "speakers": dict(zip(names, speakers.round(5).tolist(), strict=True)),
        }
    return found


def ahead(first: dict[str, dict], row: dict[str, dict]) -> dict[str, dict]:
    """By how much the first row has more of each metric, paired by speaker, with 95 % interval."""
    found = {}
    for metric in METRICS:
        one, other = (given[metric]["speakers"] for given in (first, row))
        differences = np.array([one[speaker] - other[speaker] for speaker in one])
        found[metric] = {
            "mean": round(float(differences.mean()), 5),
            "interval_95": _interval(differences),
        }
    return found


def _interval(values: np.ndarray) -> list[float]:
    error = values.std(ddof=1) / np.sqrt(len(values))
    return [round(float(values.mean() + side * 1.96 * error), 5) for side in (-1, 1)]


if __name__ == "__main__":
    # What stands after "--" is for `train`.
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    main(tyro.cli(Options, args=sys.argv[1:cut]), sys.argv[cut + 1 :])
