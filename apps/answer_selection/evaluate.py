"""Scores a run: MAP, MRR and P@1 beside scorers without a network, question by question.

    python -m apps.answer_selection.evaluate --run-dir runs/qa [--split validation|test] [--json]

The figures are those of trec_eval; `--data.protocol` says which questions count.
"""

import csv
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from apps.answer_selection.config import APP, Config, Protocol
from common.runs import cli, directory
from common.runs.directory import RunDirectory
from common.runs.errors import UserError
from common.scoring.evaluation import Evaluation

if TYPE_CHECKING:
    from apps.answer_selection.ranking.metrics import QuestionResult


def evaluate(
    run_dir: Path,
    split: str = "validation",
    *,
    protocol: Protocol | None = None,
    root: Path | None = None,
    cache_dir: Path | None = None,
) -> Evaluation:
    """Scores the best model of a run on a split.

    Writes metrics-<split>.json and questions-<split>.csv, the ranks of each question, there.

    Args:
        run_dir: written by `train`.
        split: "train", "validation" or "test".
        protocol: which questions count; that of the training by default.
        root: where the official files are now, if not where training found them.
        cache_dir: likewise for prepared data.

    Raises:
        UserError: no run of this app, the data has no such split, or no question of it counts.
    """
    run, config = directory.open_run(
        run_dir, app=APP, config_type=Config, root=root, cache_dir=cache_dir
    )
    from apps.answer_selection.ranking import metrics

    results = _rank_all(run, config, split)
    protocol = protocol or config.data.protocol
    if not metrics.counted(results["model"], protocol):
        raise UserError(
            f"expected questions that the protocol {protocol} counts, found none of "
            f"{len(results['model'])}: choose --data.protocol raw"
        )
    summaries = {name: metrics.summarize(rows, protocol) for name, rows in results.items()}
    model = summaries.pop("model")
    differences = {
        name: metrics.bootstrap_difference(results["model"], results[name], protocol)
        for name in summaries
    }
    evaluation = Evaluation(
        app=APP,
        data=config.data.name,
        split=split,
        num_examples=model.num_questions,
        metrics=model.metrics,
        baselines={name: summary.metrics for name, summary in summaries.items()},
        notes=(
            f"protocol {protocol}: {model.num_questions} of {len(results['model'])} questions "
            f"count; {model.num_without_right} have no right candidate, "
            f"{model.num_without_wrong} no wrong one",
        ),
        details={
            f"MAP above {name}": {
                "difference": difference.map_difference,
                "95 % from": difference.low,
                "to": difference.high,
            }
            for name, difference in differences.items()
        },
    )
    run.write_json(f"metrics-{split}.json", dataclasses.asdict(evaluation))
    run.write_text(f"questions-{split}.csv", _as_csv(results))
    return evaluation


def _rank_all(run: RunDirectory, config: Config, split: str) -> dict[str, list["QuestionResult"]]:
    """Each question as ranked by the model and by its rivals, by name.

    With agreement, the network alone is among the rivals.
    """
    # `networks` registers the layers of the network that is loaded.
    from apps.answer_selection import data
    from apps.answer_selection.ranking import baselines, metrics, networks, validation  # noqa: F401
    from common.inputs.text import Vocabulary

    words = Vocabulary.load(run.path / "vocab_words.txt")
    records = data.load_split(config.data, split)
    batches = data.evaluation_batches(
        data.make_examples(records, words, config.data), batch_size=config.train.batch_size
    )
    rank = validation.make_ranker(run.load_model(), batches)
    weights = {"model": config.model.agreement}
    if config.model.agreement:
        weights["network"] = 0.0
    results = {
        name: metrics.score_questions(cli.progress(rank(weight), "questions"))
        for name, weight in weights.items()
    }

    training = data.load_split(config.data, "train")
    texts = (
        text.decode() for record in training.as_numpy_iterator() for text in record["candidates"]
    )
    rivals = baselines.fit(texts, seed=config.train.seed)
    ranked = baselines.rank(rivals, records.as_numpy_iterator())
    return results | {name: metrics.score_questions(rows) for name, rows in ranked.items()}


def _as_csv(results: dict[str, list["QuestionResult"]]) -> str:
    """One line a question: the ranks of its right candidates, by scorer."""
    lines = [",".join(["question_id", "right", "wrong", *results])]
    for rows in zip(*results.values(), strict=True):
        ranks = (" ".join(map(str, row.right_ranks)) for row in rows)
        first = rows[0]
        cells = [f'"{first.question_id}"', first.num_right, first.num_wrong, *ranks]
        lines.append(",".join(map(str, cells)))
    return "\n".join(lines) + "\n"


def read_ranks(run_dir: Path, split: str) -> dict[str, dict[str, int]]:
    """question_id -> scorer -> the rank of the first right candidate, from 1.

    Of questions-<split>.csv, without questions that have no right candidate.
    """
    with (run_dir / f"questions-{split}.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["right"])]
    scorers = [name for name in rows[0] if name not in ("question_id", "right", "wrong")]
    return {
        row["question_id"]: {name: int(row[name].split()[0]) for name in scorers} for row in rows
    }


def main(
    *,
    run_dir: Path,
    split: Literal["validation", "test"] = "validation",
    data_protocol: Annotated[Protocol | None, tyro.conf.arg(name="data.protocol")] = None,
    data_root: cli.DataRoot = None,
    data_cache_dir: cli.DataCacheDir = None,
    json: bool = False,
) -> None:
    """Scores a run of answer selection beside scorers without a network.

    Args:
        run_dir: Folder that `train` wrote.
        split: Which part of the data.
        data_protocol: Which questions count; that of the training by default.
        data_root: Folder with the official files, if it moved since training.
        data_cache_dir: Where prepared data is kept, if it moved.
        json: Print one JSON object instead of a table.
    """
    evaluation = evaluate(
        run_dir, split, protocol=data_protocol, root=data_root, cache_dir=data_cache_dir
    )
    print(evaluation.as_json() if json else evaluation.as_table())


if __name__ == "__main__":
    cli.run(main, app=APP)
