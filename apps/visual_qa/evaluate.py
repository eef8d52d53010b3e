"""Scores a run: accuracy beside blind baselines, by question type.

    python -m apps.visual_qa.evaluate --run-dir runs/vqa [--split validation|test] [--json]

Accuracy is the share of exact answers; on vqa_v2 the official soft accuracy over ten people's
answers; on daquar WUPS stands beside it where WordNet is installed.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from apps.visual_qa.config import APP, Config
from common.runs import cli, directory
from common.runs.directory import RunDirectory
from common.scoring import metrics
from common.scoring.evaluation import Evaluation

if TYPE_CHECKING:
    import keras

MANY_TYPES = 8  # more question types than that are "other"
BLIND = ("most_common_answer", "question_only", "shuffled_images")


class Answered(NamedTuple):
    """A question with what people, the model and its blind rivals answer.

    Attributes:
        answers: of people; without ten of them as in VQA v2, the target alone.
        choices: by "model" and the names in BLIND.
        probability: of the model's choice, by the model.
    """

    image_id: str
    question: str
    question_type: str
    answers: tuple[str, ...]
    choices: dict[str, str]
    probability: float


def evaluate(
    run_dir: Path,
    split: str = "validation",
    *,
    root: Path | None = None,
    cache_dir: Path | None = None,
) -> Evaluation:
    """Scores the best model of a run on a split and writes metrics-<split>.json there.

    `root` is where the official files are now, if not where training found them, `cache_dir`
    likewise for prepared data.

    Raises:
        UserError: no run of this app, or the data has no such split.
    """
    run, config = directory.open_run(
        run_dir, app=APP, config_type=Config, root=root, cache_dir=cache_dir
    )
    rows = list(answer_questions(run, config, split))
    result = summarize(rows, data=config.data.name, split=split)
    run.write_json(f"metrics-{split}.json", dataclasses.asdict(result))
    return result


def answer_questions(run: RunDirectory, config: Config, split: str) -> Iterator[Answered]:
    """Asks the model and its rivals every question; memory holds a batch of images at a time."""
    import tensorflow as tf

    from apps.visual_qa import data
    from apps.visual_qa.model import QUESTION_ONLY, load_vocabularies
    from common.inputs import pipeline

    networks = run.load_model(), run.load_model(f"{QUESTION_ONLY}.keras")
    words, answers = load_vocabularies(run, networks[0])
    examples = data.make_examples(
        data.load_split(config.data, split),
        data.Vocabularies(words, answers),
        config.data,
        image_size=config.model.image_size,
        questions_per_image=config.train.questions_per_image,
    )
    batches = pipeline.evaluation_batches(examples, batch_size=config.train.batch_size)
    model, blind = (_make_classifier(net, batches.element_spec) for net in networks)
    texts = ("image_id", "question", "question_type", "answers")
    names = np.asarray(answers.tokens)
    previous_images: tf.Tensor | None = None
    for batch in cli.progress(batches, "questions"):
        # Images of the batch before; of the first batch, its own in another order.
        size = len(batch["image"])
        pool = tf.roll(batch["image"], max(size // 2, 1), axis=0)
        pool = pool if previous_images is None else tf.concat([previous_images, pool], axis=0)
        previous_images = batch["image"]
        answer_ids, probabilities = model(batch)
        choices = {
            "question_only": names[blind(batch)[0]],
            "shuffled_images": names[model({**batch, "image": pool[:size]})[0]],
            "model": names[answer_ids],
        }
        # To NumPy once a batch: slicing tensors would cost more than the model.
        columns = {name: batch[name].numpy() for name in texts}
        for row, column in np.argwhere(batch["question_mask"].numpy()):
            yield Answered(
                image_id=columns["image_id"][row].decode(),
                question=columns["question"][row, column].decode(),
                question_type=columns["question_type"][row, column].decode(),
                answers=tuple(text.decode() for text in columns["answers"][row, column] if text),
                choices={
                    "most_common_answer": answers.tokens[0],
                    **{name: str(chosen[row, column]) for name, chosen in choices.items()},
                },
                probability=float(probabilities[row, column]),
            )


def summarize(rows: Sequence[Answered], *, data: str, split: str) -> Evaluation:
    """Scores of the model and its rivals over all questions, by the protocol of the data set."""
    scores, notes = _make_scores(data)
    by_name = {
        name: {
            metric: [score(row.choices[name], row.answers) for row in rows]
            for metric, score in scores.items()
        }
        for name in ("model", *BLIND)
    }
    means = {
        name: {metric: float(np.mean(values)) for metric, values in by_metric.items()}
        for name, by_metric in by_name.items()
    }
    collapse = metrics.answer_collapse([row.choices["model"] for row in rows])
    if collapse.share > 0.9:
        notes += (f"collapse: {collapse.share:.0%} of the answers are {collapse.most_frequent!r}",)
    gains = np.subtract(by_name["model"]["accuracy"], by_name["question_only"]["accuracy"])
    error = float(np.std(gains) / np.sqrt(len(gains)))
    if gains.mean() <= 2 * error:
        notes += (
            f"the image does not help: {100 * gains.mean():+.1f} points over question_only, with a "
            f"standard error of {100 * error:.1f}; try more images, --preset photos where they are "
            "photographs, or fewer epochs",
        )
    kinds = _frequent_types([row.question_type for row in rows])
    return Evaluation(
        app=APP,
        data=data,
        split=split,
        num_examples=len(rows),
        metrics=means.pop("model"),
        baselines=means,
        notes=notes,
        details={
            "accuracy by type": metrics.accuracy_by_group(by_name["model"]["accuracy"], kinds),
            "answers": {
                "distinct": collapse.num_distinct,
                "share of the commonest": collapse.share,
            },
        },
    )


def _make_classifier(
    model: "keras.Model", element_spec: dict
) -> Callable[[dict], tuple[np.ndarray, np.ndarray]]:
    """From a batch to id and probability of the best answers, both (batch, questions)."""
    import tensorflow as tf

    from common.lstm.layer import machine_code

    @tf.function(input_signature=[element_spec])  # one trace for batches of all sizes
    def classify(batch):
        with machine_code():
            logits = model({name: batch[name] for name in model.input}, training=False)["logits"]
        return tf.argmax(logits, axis=-1), tf.reduce_max(tf.nn.softmax(logits), axis=-1)

    return lambda batch: tuple(values.numpy() for values in classify(batch))


def _make_scores(data_name: str) -> tuple[dict[str, Callable], tuple[str, ...]]:
    """The metrics of a data set, functions of an answer and people's answers; and notes."""
    if data_name == "vqa_v2":
        return {"accuracy": metrics.vqa_soft_accuracy}, ()
    scores: dict[str, Callable] = {"accuracy": lambda answer, answers: float(answer == answers[0])}
    if data_name != "daquar":
        return scores, ()
    similarity = metrics.load_wordnet_similarity()
    if similarity is None:
        return scores, ("WUPS is left out: it needs nltk and `python -m nltk.downloader wordnet`",)

    def wups(threshold: float) -> Callable:
        return lambda answer, answers: metrics.wups(
            answer.split(", "), answers[0].split(", "), threshold=threshold, similarity=similarity
        )

    return {**scores, "wups_0.9": wups(0.9), "wups_0.0": wups(0.0)}, ()


def _frequent_types(kinds: list[str]) -> list[str]:
    """Types in full where they are few, else all but the most frequent as "other"."""
    counts = Counter(kinds)
    limit = len(counts) if len(counts) <= MANY_TYPES else MANY_TYPES - 1
    frequent = {kind for kind, _ in counts.most_common(limit)}
    return [kind if kind in frequent else "other" for kind in kinds]


main = cli.evaluate_command(evaluate)


if __name__ == "__main__":
    cli.run(main, app=APP)
