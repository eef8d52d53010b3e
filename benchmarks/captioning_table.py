"""The table of image captioning: decoders and ways of training over several seeds.

    python -m benchmarks.captioning_table --data karpathy --root DIR [--rows ROW] [--seeds 1 2]
    python -m benchmarks.captioning_table --data karpathy --root DIR --no-train

All figures are of validation, on which the epoch was chosen too. Each run is scored twice: with the
best caption of the beam, and, as `reranked`, with the one that `evaluate --rerank` takes. Rows come
to those of an earlier call in results/captioning_<data>.json; each keeps its options, commit and
date.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import tyro

from benchmarks import commands
from benchmarks.commands import spread, summary
from common.runs import files

TURNED = (
    *("--model.train-image-encoder", "--model.train-encoder-from", "blocks-11"),
    *("--augment.mirror", "--augment.turn"),
    *("--train.learning-rate", "2e-4", "--train.epochs", "8"),
)
ROWS = {
    "soft_attention": (),
    "show_and_tell": (  # learns more slowly without attention
        *("--model.decoder", "show_and_tell"),
        *("--train.epochs", "60", "--train.patience", "60"),
    ),
    "fine_tuned": (
        *("--model.train-image-encoder", "--model.train-encoder-from", "blocks-11"),
        *("--train.learning-rate", "1e-4", "--train.epochs", "6"),
    ),
    "fine_tuned_turned": TURNED,
    "fine_tuned_turned_16": (*TURNED, "--train.batch-size", "16"),
}
BEGINS_FROM = {  # the run of the same seed in that row
    "fine_tuned": "soft_attention",
    "fine_tuned_turned": "soft_attention",
    "fine_tuned_turned_16": "soft_attention",
}
PHOTOS = (
    *("--model.image-size", "224", "--model.colour-bins", "None"),
    *("--train.label-smoothing", "0.1", "--train.average", "0.98"),
    *("--decoding.length-penalty", "1"),
)
OPTIONS = {
    "karpathy": (*PHOTOS, "--train.epochs", "16", "--train.patience", "16"),
    "flickr8k": (
        *(*PHOTOS, "--train.epochs", "30", "--train.patience", "10"),
        *("--data.min-word-count", "3"),
    ),
    "emoji": (),
}
COLUMNS = ("bleu_4", "cider", "exact_match", "word_f1")


def main(
    *,
    data: Literal["karpathy", "flickr8k", "emoji"] = "karpathy",
    root: Path | None = None,
    rows: tuple[str, ...] | None = None,
    seeds: tuple[int, ...] = (1, 2, 3),
    train: bool = True,
    runs_dir: Path = commands.ROOT / "runs" / "captioning_table",
) -> None:
    """Trains each row with each seed; prints the table and writes results/captioning_<data>.json.

    Args:
        data: Which data set.
        root: Folder with its official files.
        rows: Which networks, of those in ROWS; all by default. Those that begin from another row
            need its runs.
        seeds: One run each.
        train: Not to train is to score the runs again that are there.
        runs_dir: Folder for the runs; older ones of the same rows are replaced.
    """
    path, report = commands.RESULTS / f"captioning_{data}.json", {}
    place = () if root is None else ("--data.root", str(root))
    for row in rows or ROWS:
        options = ("--data.name", data, *OPTIONS[data], *ROWS[row])
        first = runs_dir / data / BEGINS_FROM[row] if row in BEGINS_FROM else None
        folder, peaks = runs_dir / data / row, {}
        if train:
            done = train_row(folder, (*options, *place), seeds, begins_from=first)
            peaks = {"train_peak_gib": spread([one.peak_gib for one in done])}
        results = {"options": options, **score_row(folder, seeds), **peaks}
        report = add_row(path, row, results, order=ROWS)
    print(as_table(report["rows"]))


def train_row(
    folder: Path, options: Sequence[str], seeds: Sequence[int], *, begins_from: Path | None = None
) -> list[commands.Done]:
    """Trains a row anew. Each run begins from that of its seed in `begins_from`."""
    commands.remove_runs(folder)
    done = []
    for seed in seeds:
        arguments = ["--run-dir", folder / str(seed), "--train.seed", seed, *options]
        if begins_from is not None:
            arguments += ["--train.init-from", begins_from / str(seed)]
        done.append(commands.run("image_captioning", "train", *arguments))
    return done


def score_row(folder: Path, seeds: Sequence[int]) -> dict:
    """Mean and spread over the seeds, with the baselines of the runs."""
    runs = [folder / str(seed) for seed in seeds]
    reranked = [
        commands.evaluate("image_captioning", run, "validation", "--rerank") for run in runs
    ]
    plain = [commands.evaluate("image_captioning", run, "validation") for run in runs]
    return {
        **commands.origin(runs[0]),
        "num_examples": plain[0]["num_examples"],
        "seeds": list(seeds),
        "model": summary([one["metrics"] for one in plain]),
        "reranked": summary([one["metrics"] for one in reranked]),
        "baselines": {
            name: summary([one["baselines"][name] for one in plain])
            for name in plain[0]["baselines"]
        },
        "copied_from_training": spread(
            [one["details"]["captions"]["copied from training"] for one in plain]
        ),
    }


def add_row(path: Path, row: str, results: dict, *, order: Iterable[str]) -> dict:
    """Adds a row to the results, as they are now: another call may have written since."""
    report = files.read_json(path) if path.exists() else {"split": "validation", "rows": {}}
    rows = report["rows"]
    rows[row] = {**rows.get(row, {}), **results}
    report["rows"] = {name: rows[name] for name in order if name in rows}
    files.write_json(path, report)
    return report


def as_table(rows: dict[str, dict]) -> str:
    """The rows for a README; below them the baselines of the first: a trained CNN has others."""
    lines = [f"| | seeds | {' | '.join(COLUMNS)} |", "|---|---|" + "---|" * len(COLUMNS)]
    for name, row in rows.items():
        seeds = " ".join(map(str, row["seeds"]))
        lines.append(_line(name, seeds, row["model"]))
        lines.append(_line(f"{name}, reranked", seeds, row["reranked"]))
    first = next(iter(rows.values()))
    for name in ("nearest_image", "consensus_12", "most_frequent_caption"):
        lines.append(_line(name, "", first["baselines"][name]))
    return "\n".join(lines)


def _line(name: str, seeds: str, metrics: dict[str, dict]) -> str:
    cells = []
    for name in COLUMNS:
        metric = metrics[name]
        deviation = f" ± {metric['sd']:.3f}" if len(metric["values"]) > 1 and seeds else ""
        cells.append(f"{metric['mean']:.3f}{deviation}")
    return f"| {name.replace('_', ' ')} | {seeds} | {' | '.join(cells)} |"


if __name__ == "__main__":
    tyro.cli(main)
