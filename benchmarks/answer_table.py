"""The table of answer selection: networks over several seeds, beside overlap and BM25.

    python -m benchmarks.answer_table --data trecqa --root DIR [--rows blstm_3 ...] [--seeds 1 2 3]

All figures are of validation. Rows come to those of an earlier call in results/answer_<data>.json;
each keeps its options, commit and date. Times are none of its business: measure them with
answer_speed.py, at rest. `ensemble` is the mean of the seeds' scores, each in deviations from its
mean.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import tyro

from benchmarks import commands
from benchmarks.commands import spread, summary
from common.runs import cli, files

STACKED = ("--model.matching", "stacked", "--model.no-match-features")
ROWS = {
    "compare_aggregate_pointwise": (),  # the default
    "compare_aggregate_agreement": ("--model.agreement", "8"),
    "lstm_1": (*STACKED, "--model.direction", "forward"),
    "blstm_1": STACKED,
    "blstm_3": (*STACKED, "--model.layers", "3"),
}
NATURAL = (
    *("--model.no-train-word-vectors", "--model.dropout", "0.3"),
    *("--train.candidates-per-question", "16", "--train.epochs", "6"),
)
OPTIONS = {
    "docstrings": (),
    "trecqa": ("--data.protocol", "raw", *NATURAL),
    "wikiqa": ("--data.protocol", "clean", *NATURAL),
}


def main(
    *,
    data: Literal["docstrings", "trecqa", "wikiqa"] = "docstrings",
    root: Path | None = None,
    rows: tuple[str, ...] = tuple(ROWS),
    seeds: tuple[int, ...] = (1, 2, 3),
    name: str | None = None,
    runs_dir: Path = commands.ROOT / "runs" / "answer_table",
) -> None:
    """Trains each row with each seed; prints the table and writes results/answer_<name>.json.

    Args:
        data: Which data set.
        root: Folder with its official files.
        rows: Which networks, of those in ROWS.
        seeds: One run each.
        name: Of the result file; that of the data set by default.
        runs_dir: Folder for the runs; older ones of the same rows are replaced.
    """
    cli.start_tensorflow_quietly()
    path = commands.RESULTS / f"answer_{name or data}.json"
    report = files.read_json(path) if path.exists() else {"split": "validation", "rows": {}}
    options = ["--data.name", data, *OPTIONS[data]]
    if root is not None:
        options += ["--data.root", str(root)]
    for row in rows:
        folder = runs_dir / (name or data) / row
        report["rows"][row] = measure(folder, [*options, *ROWS[row]], seeds)
        report["rows"][row]["options"] = [*OPTIONS[data], *ROWS[row]]
        files.write_json(path, report)
        print(_table({row: report["rows"][row]}))
    print(_table(report["rows"]))


def measure(folder: Path, options: Sequence[str], seeds: Sequence[int]) -> dict:
    """One row: mean and spread over the seeds, the ensemble, and each seed's lead over BM25."""
    commands.remove_runs(folder)
    runs, found, done = [folder / str(seed) for seed in seeds], [], []
    for seed, run in zip(seeds, runs, strict=True):
        arguments = ("--run-dir", run, "--train.seed", seed, *options)
        done.append(commands.run("answer_selection", "train", *arguments))
        found.append(commands.evaluate("answer_selection", run, "validation"))
    return {
        **commands.origin(runs[0]),
        "num_questions": found[0]["num_examples"],
        "seeds": list(seeds),
        "map_above_bm25": [one["details"]["MAP above bm25"] for one in found],
        "train_peak_gib": spread([one.peak_gib for one in done]),
        "baselines": {name: summary([one["baselines"][name] for one in found])
                      for name in found[0]["baselines"]},
        **joint_figures(runs),
    }  # fmt: skip


def joint_figures(runs: Sequence[Path]) -> dict:
    """The mean of the runs, and their ensemble."""
    from apps.answer_selection import data
    from apps.answer_selection.config import Config, Protocol
    from apps.answer_selection.ranking import metrics
    from common.runs.directory import RunDirectory

    opened = [RunDirectory.open(run, app="answer_selection") for run in runs]
    config = opened[0].read_config(Config)
    by_run = [list(_scored(run, data.load_split(config.data, "validation"))) for run in opened]

    def score(questions: Iterable[metrics.Ranked], protocol: Protocol) -> dict:
        return metrics.summarize(metrics.score_questions(questions), protocol)

    found: dict = {"protocol": config.data.protocol, "by_protocol": {}}
    means = [
        one[0]._replace(scores=np.mean([same.scores for same in one], axis=0).tolist())
        for one in zip(*map(_scaled, by_run), strict=True)
    ]
    for protocol in get_args(Protocol):
        figures: dict = {"model": summary([score(one, protocol) for one in by_run])}
        if len(runs) > 1:
            figures["ensemble"] = score(means, protocol)
        found["by_protocol"][protocol] = figures
    return found


def _scored(run, records):
    """Questions with the scores of a run's best model."""
    from apps.answer_selection import data
    from apps.answer_selection.config import Config
    from apps.answer_selection.ranking import networks, validation  # noqa: F401
    from common.inputs import pipeline
    from common.inputs.text import Vocabulary

    config, words = run.read_config(Config), Vocabulary.load(run.path / "vocab_words.txt")
    batches = pipeline.evaluation_batches(
        data.make_examples(records, words, config.data), batch_size=config.train.batch_size
    )
    return validation.make_ranker(run.load_model(), batches)(config.model.agreement)


def _scaled(questions):
    """The same with scores in deviations from their mean: those of two networks are added."""
    scores = np.concatenate([one.scores for one in questions])
    for one in questions:
        yield one._replace(scores=((np.array(one.scores) - scores.mean()) / scores.std()).tolist())


def _table(rows: dict[str, dict]) -> str:
    """The rows for a README."""
    lines = ["| | seeds | MAP | MRR | ensemble | MAP above BM25 |", "|---|---|---|---|---|---|"]
    for name, row in rows.items():
        figures = row["by_protocol"][row["protocol"]]
        both = (figures["model"]["map"], figures["model"]["mrr"])
        cells = [" ".join(map(str, row["seeds"]))]
        cells += [f"{one['mean']:.3f} ± {one['sd']:.3f}" for one in both]
        joint = figures.get("ensemble")
        cells.append(f"{joint['map']:.3f} / {joint['mrr']:.3f}" if joint else "")
        above = row["map_above_bm25"]
        low, high = min(one["95 % from"] for one in above), max(one["to"] for one in above)
        cells.append(f"{np.mean([one['difference'] for one in above]):.3f} [{low:.3f}, {high:.3f}]")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    tyro.cli(main)
