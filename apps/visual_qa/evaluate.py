"""Scores a run: accuracy beside blind baselines, by question type.

    python -m apps.visual_qa.evaluate --run-dir runs/vqa [--split validation|test] [--json]

Accuracy is the share of exact answers; on vqa_v2 the official soft accuracy over ten people's
answers; on daquar WUPS stands beside it where WordNet is installed.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from apps.visual_qa.config import APP, Config
from common.runs import cli
from common.runs.directory import RunDirectory
from common.scoring import metrics
from common.scoring.evaluation import Evaluation

if TYPE_CHECKING:
    import keras

MANY_TYPES = 8  # more question types than that are "other"
BLIND = ("most_common_answer", "question_only", "shuffled_images")


class Answered(NamedTuple):
    """One question with what people, the model and its blind rivals answered."""

    question_type: str
    answers: tuple[str, ...]
    given: dict[str, str]  # by "model" and the names in BLIND


def evaluate(
    run_dir: Path,
    split: str = "validation",
    *,
    root: Path | None = None,
    cache_dir: Path | None = None,
) -> Evaluation:
    """Scores the best model of a run on a split and writes metrics-<split>.json there.

    Args:
        run_dir: written by `train`.
        split: "train", "validation" or "test".
        root: where the official files are now, if not where training found them.
        cache_dir: likewise for prepared data.

    Raises:
        UserError: no run of this app, or the data has no such split.
    """
    run = RunDirectory.open(run_dir, app=APP)
    config = run.read_config(Config)
    where = {"root": root or config.data.root, "cache_dir": cache_dir or config.data.cache_dir}
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, **where))

    answered = list(_answer_all(run, config, split))
    score, notes = _make_scores(config.data.name)
    scored = {
        name: {
            metric: [one(row.given[name], row.answers) for row in answered]
            for metric, one in score.items()
        }
        for name in ("model", *BLIND)
    }
    found = {
        name: {metric: float(np.mean(values)) for metric, values in by_metric.items()}
        for name, by_metric in scored.items()
    }
    given = metrics.answer_collapse([row.given["model"] for row in answered])
    if given.share > 0.9:
        notes = (*notes, f"collapse: {given.share:.0%} of the answers are {given.most_frequent!r}")
    kinds = _frequent_types([row.question_type for row in answered])
    result = Evaluation(
        app=APP,
        data=config.data.name,
        split=split,
        num_examples=len(answered),
        metrics=found.pop("model"),
        baselines=found,
        notes=notes,
        details={
            "accuracy by type": metrics.accuracy_by_group(scored["model"]["accuracy"], kinds),
            "answers": {"distinct": given.num_distinct, "share of the commonest": given.share},
        },
    )
    run.write_json(f"metrics-{split}.json", dataclasses.asdict(result))
    return result


def _answer_all(run: RunDirectory, config: Config, split: str) -> Iterator[Answered]:
    """Asks the model and its rivals every question; memory holds a batch of images at a time."""
    import tensorflow as tf

    from apps.visual_qa import data
    from common.inputs import pipeline
    from common.inputs.text import Vocabulary

    words = Vocabulary.load(run.path / "vocab_words.txt")
    answers = Vocabulary.load(run.path / "vocab_answers.txt")
    model, blind = run.load_model(), run.load_model("question_only.keras")
    examples = data.make_examples(
        data.load_split(config.data, split),
        data.Vocabularies(words, answers),
        config.data,
        image_size=config.model.image_size,
        questions_per_image=config.train.questions_per_image,
    )
    batches = pipeline.evaluation_batches(examples, batch_size=config.train.batch_size)
    ask_model, ask_blind = (_make_asker(one, batches.element_spec) for one in (model, blind))
    names = np.asarray(answers.tokens)
    other_images: tf.Tensor | None = None
    for batch in cli.progress(batches, "questions"):
        # Images of the batch before; of the first batch, its own in another order.
        size = len(batch["image"])
        pool = tf.roll(batch["image"], max(size // 2, 1), axis=0)
        pool = pool if other_images is None else tf.concat([other_images, pool], axis=0)
        chosen = {
            "model": names[ask_model(batch)],
            "question_only": names[ask_blind(batch)],
            "shuffled_images": names[ask_model({**batch, "image": pool[:size]})],
        }
        other_images = batch["image"]
        # To NumPy once a batch: slicing tensors would cost more than the model.
        people, kinds = batch["answers"].numpy(), batch["question_type"].numpy()
        for row, column in np.argwhere(batch["question_mask"].numpy()):
            given = {name: str(values[row, column]) for name, values in chosen.items()}
            yield Answered(
                question_type=kinds[row, column].decode(),
                answers=tuple(answer.decode() for answer in people[row, column] if answer),
                given={"most_common_answer": answers.tokens[0], **given},
            )


def _make_asker(model: "keras.Model", element_spec: dict) -> Callable[[dict], np.ndarray]:
    """A function from a batch to the best answer's id, int (batch, questions)."""
    import tensorflow as tf

    inputs = {name: element_spec[name] for name in model.input}

    @tf.function(input_signature=[inputs])  # one trace for batches of all sizes
    def best(taken):
        return tf.argmax(model(taken, training=False)["logits"], axis=-1)

    return lambda batch: best({name: batch[name] for name in inputs}).numpy()


def _make_scores(data_name: str) -> tuple[dict[str, Callable], tuple[str, ...]]:
    """The metrics of a data set: functions of the given answer and people's answers."""
    if data_name == "vqa_v2":
        return {"accuracy": metrics.vqa_soft_accuracy}, ()
    scores: dict[str, Callable] = {"accuracy": lambda given, answers: float(given == answers[0])}
    if data_name != "daquar":
        return scores, ()
    similarity = metrics.load_wordnet_similarity()
    if similarity is None:
        return scores, ("WUPS is left out: install nltk and WordNet (Debian: wordnet-base) for it",)

    def wups(threshold: float) -> Callable:
        return lambda given, answers: metrics.wups(
            given.split(", "), answers[0].split(", "), threshold=threshold, similarity=similarity
        )

    return {**scores, "wups_0.9": wups(0.9), "wups_0.0": wups(0.0)}, ()


def _frequent_types(kinds: list[str]) -> list[str]:
    """Types in full where they are few, else all but the most frequent as "other"."""
    counts = Counter(kinds)
    num_kept = len(counts) if len(counts) <= MANY_TYPES else MANY_TYPES - 1
    kept = {kind for kind, _ in counts.most_common(num_kept)}
    return [kind if kind in kept else "other" for kind in kinds]


def main(
    *,
    run_dir: Path,
    split: Literal["validation", "test"] = "validation",
    data_root: cli.DataRoot = None,
    data_cache_dir: cli.DataCacheDir = None,
    json: bool = False,
) -> None:
    """Scores a run of visual question answering beside blind baselines.

    Args:
        run_dir: Folder that `train` wrote.
        split: Which part of the data.
        data_root: Folder with the official files, if it moved since training.
        data_cache_dir: Where prepared data is kept, if it moved.
        json: Print one JSON object instead of a table.
    """
    result = evaluate(run_dir, split, root=data_root, cache_dir=data_cache_dir)
    print(result.as_json() if json else result.as_table())


if __name__ == "__main__":
    cli.run(main, app=APP)
