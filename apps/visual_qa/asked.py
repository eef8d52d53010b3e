"""What a trained run answers to every question of some records: for a look at its errors."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from common.inputs import images
from common.plots import figures


class Asked(NamedTuple):
    """One question with the right and the given answer.

    Attributes:
        image: encoded bytes.
        kind: the question's type, see datasets.py.
        right: the answer that is the target in training.
        given: the model's.
        probability: of the given answer, by the model.
    """

    image: bytes
    question: str
    kind: str
    right: str
    given: str
    probability: float


def ask(
    answerer: Callable[[tf.Tensor, tf.Tensor], dict], records: Iterable[dict]
) -> Iterator[Asked]:
    """Asks every question.

    Args:
        answerer: `predict.load_answerer` of a run, or the signature of its SavedModel.
        records: of `data.load_split`, as tensors.
    """
    for record in records:
        image = tf.repeat(record["image"][None], tf.size(record["question"]))
        found = answerer(image=image, question=record["question"])
        columns = (
            record["question"],
            record["question_type"],
            record["answer"],
            found["answer"],
        )
        texts = ([text.decode() for text in column.numpy()] for column in columns)
        encoded = record["image"].numpy()
        for *row, probability in zip(*texts, found["probability"].numpy().tolist(), strict=True):
            yield Asked(encoded, *row, probability)


def draw_records(
    records: Iterable[dict], *, title: str, path: Path, num_questions: int = 3
) -> None:
    """Draws the images of records, each with its first questions and their answers."""
    shown, texts = [], []
    for record in records:
        pairs = zip(record["question"].numpy(), record["answer"].numpy(), strict=True)
        lines = [f"{question.decode()} {answer.decode()}" for question, answer in pairs]
        shown.append(images.decode(record["image"]).numpy())
        texts.append("\n".join(lines[:num_questions]))
    figures.images_with_texts(shown, texts, title=title, path=path)


def draw_asked(rows: Iterable[Asked], *, title: str, path: Path) -> None:
    """Draws images with their question, the given and the right answer, e.g. of errors."""
    rows = list(rows)
    texts = [
        f"{one.question}\nmodel: {one.given} ({one.probability:.0%})\nright: {one.right}"
        for one in rows
    ]
    shown = [images.decode(one.image).numpy() for one in rows]
    figures.images_with_texts(shown, texts, title=title, path=path)
