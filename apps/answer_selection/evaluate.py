"""Scores a run: MAP, MRR and P@1 beside scorers without a network, question by question.

    python -m apps.answer_selection.evaluate --run-dir runs/qa [--split validation|test] [--json]

The figures are those of trec_eval; `--data.protocol` says which questions count.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from apps.answer_selection.config import APP, Config, Protocol
from common.runs import cli, directory
from common.runs.directory import RunDirectory
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
    baselines = {name: metrics.summarize(rows, protocol) for name, rows in results.items()}
    rows, scores = results["model"], baselines.pop("model")
    num_counted = len(metrics.counted(rows, protocol))
    evaluation = Evaluation(
        app=APP,
        data=config.data.name,
        split=split,
        num_examples=num_counted,
        metrics=scores,
        baselines=baselines,
        notes=(
            f"protocol {protocol}: {num_counted} of {len(rows)} questions count; "
            f"{sum(not row.num_right for row in rows)} have no right candidate, "
            f"{sum(not row.num_wrong for row in rows)} no wrong one",
        ),
        details={
            f"MAP above {name}": metrics.map_difference(rows, results[name], protocol)
            for name in baselines
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
    from common.inputs import pipeline
    from common.inputs.text import Vocabulary

    model = run.load_model()
    size = model.get_layer("embedding").input_dim - config.data.hash_buckets
    words = Vocabulary.load(run.path / "vocab_words.txt", size=size)
    records = data.load_split(config.data, split)
    batches = pipeline.evaluation_batches(
        data.make_examples(records, words, config.data), batch_size=config.train.batch_size
    )
    rank = validation.make_ranker(model, batches)
    ranked = {"model": cli.progress(rank(config.model.agreement), "questions")}
    if config.model.agreement:
        ranked["network"] = rank(0.0)
    training = data.load_split(config.data, "train").as_numpy_iterator()
    texts = (text.decode() for record in training for text in record["candidates"])
    rivals = baselines.fit(texts, seed=config.train.seed)
    ranked |= baselines.rank(rivals, records.as_numpy_iterator())
    return {name: metrics.score_questions(rows) for name, rows in ranked.items()}


def _as_csv(results: dict[str, list["QuestionResult"]]) -> str:
    """One line a question: the ranks of its right candidates, by scorer."""
    lines = [",".join(["question_id", "right", "wrong", *results])]
    for rows in zip(*results.values(), strict=True):
        ranks = (" ".join(map(str, row.right_ranks)) for row in rows)
        lines.append(
            ",".join([f'"{rows[0].question_id}",{rows[0].num_right},{rows[0].num_wrong}', *ranks])
        )
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
    evaluation = evaluate(
        run_dir, split, protocol=data_protocol, root=data_root, cache_dir=data_cache_dir
    )
    print(evaluation.as_json() if json else evaluation.as_table())


if __name__ == "__main__":
    cli.run(main, app=APP)
