"""What a network in training answers about a few validation images, for TensorBoard."""

from collections.abc import Iterator
from pathlib import Path

import keras

from apps.visual_qa import data
from apps.visual_qa.config import Config
from apps.visual_qa.model import Answerer
from apps.visual_qa.predict import Predictor
from common.inputs import images
from common.plots import figures
from common.training import logging as training_log


def make_samples(
    model: keras.Model, vocabularies: data.Vocabularies, config: Config
) -> training_log.Samples:
    """Answers the first question about each of the first images of the validation part."""
    most = config.data.max_question_words
    predictor = Predictor(Answerer(model, *vocabularies, max_question_words=most))
    records = data.load_split(config.data, "validation")
    shown = list(records.take(training_log.NUM_SAMPLES).as_numpy_iterator())

    def tell(folder: Path) -> Iterator[training_log.Sample]:
        for number, record in enumerate(shown):
            image, question = record["image"], record["question"][0].decode()
            answer = predictor.answer(image, question)
            path = folder / f"{number}.png"
            figures.attention_over_image(
                images.decode(image).numpy(),
                answer.attention,
                answer.top,
                title=question,
                path=path,
            )
            right = record["answer"][0].decode()
            yield training_log.Sample(f"{question} **{answer.top[0][0]}** (right: {right})", path)

    return tell
