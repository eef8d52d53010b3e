"""Scores a run: MAP, MRR and P@1 beside scorers without a network, question by question.

    python -m apps.answer_selection.evaluate --run-dir runs/qa [--split validation|test] [--json]

The figures are those of trec_eval; `--data.protocol` says which questions count (ranking.py).
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from apps.answer_selection.config import APP, Config
from common.runs import cli
from common.runs.directory import RunDirectory
from common.runs.errors import UserError
from common.scoring.evaluation import Evaluation

if TYPE_CHECKING:
    from apps.answer_selection.ranking import QuestionResult

Protocol = Literal["raw", "clean", "filtered"]


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
    run = RunDirectory.open(run_dir, app=APP)
    config = run.read_config(Config)
    where = {
        "root": root or config.data.root,
        "cache_dir": cache_dir or config.data.cache_dir,
        "protocol": protocol or config.data.protocol,
    }
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, **where))

    from apps.answer_selection import ranking

    results = _rank_all(run, config, split)
    counts = config.data.protocol
    if not ranking.counted(results["model"], counts):
        raise UserError(
            f"expected questions that the protocol {counts} counts, found none of "
            f"{len(results['model'])}: choose --data.protocol raw"
        )
    summaries = {name: ranking.summarize(found, counts) for name, found in results.items()}
    model = summaries.pop("model")
    differences = {
        name: ranking.bootstrap_difference(results["model"], results[name], counts)
        for name in summaries
    }
    found = Evaluation(
        app=APP,
        data=config.data.name,
        split=split,
        num_examples=model.num_questions,
        metrics=model.metrics,
        baselines={name: summary.metrics for name, summary in summaries.items()},
        notes=(
            f"protocol {counts}: {model.num_questions} of {len(results['model'])} questions count; "
            f"{model.num_without_right} have no right candidate, "
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
    run.write_json(f"metrics-{split}.json", dataclasses.asdict(found))
    run.write_text(f"questions-{split}.csv", _as_csv(results))
    return found


def _rank_all(run: RunDirectory, config: Config, split: str) -> dict[str, list["QuestionResult"]]:
    """Each question as ranked by the model and by its rivals, by name.

    With agreement, the scores of the network alone are among the rivals.
    """
    # `model` registers the layers of the network that is loaded.
    from apps.answer_selection import (
        baselines,
        data,
        model,  # noqa: F401
        ranking,
        scoring,
    )
    from common.inputs.text import Vocabulary

    words = Vocabulary.load(run.path / "vocab_words.txt")
    network = run.load_model()
    records = data.load_split(config.data, split)
    batches = data.evaluation_batches(
        data.make_examples(records, words, config.data), batch_size=config.train.batch_size
    )
    weight = config.model.agreement
    scored = scoring.read(network, batches, agreement_weight=weight)
    scored = list(cli.progress(scored, "questions"))
    outputs = {"model": "final"} | ({"network": "score"} if weight else {})
    results = {
        name: ranking.score_questions(one.ranked(output) for one in scored)
        for name, output in outputs.items()
    }

    training = data.load_split(config.data, "train")
    texts = (
        text.decode() for record in training.as_numpy_iterator() for text in record["candidates"]
    )
    rivals = baselines.fit(texts, seed=config.train.seed)
    ranked = baselines.rank(rivals, records.as_numpy_iterator())
    return results | {name: ranking.score_questions(rows) for name, rows in ranked.items()}


def _as_csv(results: dict[str, list["QuestionResult"]]) -> str:
    """One line a question: the ranks of its right candidates, by scorer."""
    lines = [",".join(["question_id", "right", "wrong", *results])]
    for rows in zip(*results.values(), strict=True):
        ranks = (" ".join(map(str, row.right_ranks)) for row in rows)
        first = rows[0]
        cells = [f'"{first.question_id}"', first.num_right, first.num_wrong, *ranks]
        lines.append(",".join(map(str, cells)))
    return "\n".join(lines) + "\n"


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
    result = evaluate(
        run_dir, split, protocol=data_protocol, root=data_root, cache_dir=data_cache_dir
    )
    print(result.as_json() if json else result.as_table())


if __name__ == "__main__":
    cli.run(main, app=APP)
