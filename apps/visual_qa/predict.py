"""Answers a question about an image with a trained run.

python -m apps.visual_qa.predict --run-dir runs/vqa --image photo.jpg --question "what is it?"
"""

import json as json_module
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from apps.visual_qa.config import APP
from common.runs import cli
from common.runs.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

    from apps.visual_qa.model import Answerer
    from common.training.logging import Sample, Samples

logger = logging.getLogger("cellstate")


class Answer(NamedTuple):
    """What the model says about one image and question.

    Attributes:
        top: (answer, probability), best first, at most five.
        attention: float32 (hops, rows, columns), each hop summing to 1: where it looked.
        model_seconds: time of the network and of decoding the image, without loading.
    """

    top: list[tuple[str, float]]
    attention: np.ndarray
    model_seconds: float


class Predictor:
    """A trained model that answers one question at a time."""

    def __init__(self, answerer: "Answerer"):
        import tensorflow as tf

        from common.lstm.layer import machine_code

        self.answerer = answerer
        blank = tf.io.encode_png(tf.zeros([1, 1, 3], tf.uint8))
        # TensorFlow optimises a graph at its first call: now, not at the first question.
        with machine_code():
            answerer(tf.expand_dims(blank, 0), tf.constant(["warm up"]))

    @classmethod
    def load(cls, run_dir: Path) -> "Predictor":
        """Loads the best model of a run.

        Raises:
            UserError: no run of this app, or its model is missing or damaged.
        """
        from apps.visual_qa.model import load_inference

        return cls(load_inference(run_dir))

    def answer(self, image: bytes, question: str) -> Answer:
        """Answers `question` about `image`, an encoded JPEG, PNG or BMP.

        Raises:
            UserError: the image cannot be read or is too large; the question has no word.
        """
        import tensorflow as tf

        from common.inputs import images, text

        images.require(image)
        words = text.WORDS(tf.constant([question]))[0].numpy()
        if len(words) == 0:
            raise UserError(f"expected a question of at least one word, got {question[:40]!r}")
        if len(words) > self.answerer.max_question_words:
            logger.warning(
                "note: reads the first %d of %d words", self.answerer.max_question_words, len(words)
            )
        if (self.answerer.word_table.lookup(tf.constant(words)).numpy() == text.UNK).all():
            logger.warning("note: no word of the question occurred in training")
        begun = time.monotonic()
        outputs = self.answerer(tf.constant([image]), tf.constant([question]))
        outputs = {name: value[0].numpy() for name, value in outputs.items()}
        seconds = time.monotonic() - begun
        pairs = zip(outputs["top_answers"], outputs["top_probabilities"], strict=True)
        top = [(answer.decode(), float(probability)) for answer, probability in pairs if answer]
        return Answer(top, outputs["attention"], seconds)


def draw(image: bytes, question: str, answer: Answer, path: Path) -> None:
    """Draws where the model looked, and its answers."""
    from common.inputs import images
    from common.plots import figures

    pixels = images.decode(image).numpy()
    figures.attention_over_image(pixels, answer.attention, answer.top, title=question, path=path)


def make_samples(predictor: Predictor, records: "tf.data.Dataset") -> "Samples":
    """What TensorBoard shows during training: the first question about some images of `records`."""
    from common.training.logging import NUM_SAMPLES, Sample

    rows = list(records.take(NUM_SAMPLES).as_numpy_iterator())

    def samples(folder: Path) -> "Iterator[Sample]":
        for number, row in enumerate(rows):
            question, target = row["question"][0].decode(), row["answer"][0].decode()
            answer = predictor.answer(row["image"], question)
            path = folder / f"{number}.png"
            draw(row["image"], question, answer, path)
            text = f"{question} **{answer.top[0][0]}** (right: {target})"
            yield Sample(text, path)

    return samples


def main(
    *,
    run_dir: Path,
    image: Path,
    question: str,
    plot: cli.OutputFile = None,
    json: bool = False,
) -> None:
    """Answers a question about an image.

    Args:
        run_dir: Folder that `train` wrote.
        image: JPEG, PNG or BMP file.
        question: In the language of the training questions.
        plot: Write a picture of where the model looked, e.g. out.png.
        json: Print one JSON object.
    """
    if not image.is_file():
        raise UserError(f"expected an image file for --image, found none at {image}")
    encoded = image.read_bytes()
    answer = Predictor.load(run_dir).answer(encoded, question)
    if json:
        fields = {**answer._asdict(), "attention": answer.attention.tolist()}
        print(json_module.dumps({"question": question, **fields}, ensure_ascii=False))
    else:
        for name, probability in answer.top:
            print(f"{probability:7.1%}  {name}")
    if plot is not None:
        draw(encoded, question, answer, plot)


if __name__ == "__main__":
    cli.run(main, app=APP)
