"""What a network in training answers about a few validation images, for TensorBoard."""

from collections.abc import Iterator
from pathlib import Path

import keras

from apps.visual_qa import data
from apps.visual_qa.config import Config
from apps.visual_qa.model import Answerer
from apps.visual_qa.predict import Predictor
from common import images, plots, telling


def make_samples(
    model: keras.Model, vocabularies: data.Vocabularies, config: Config
) -> telling.Samples:
    """Answers the first question about each of the first images of the validation part."""
    most = config.data.max_question_words
    predictor = Predictor(Answerer(model, *vocabularies, max_question_words=most))
    records = data.load_split(config.data, "validation")
    shown = list(records.take(telling.NUM_SAMPLES).as_numpy_iterator())

    def tell(folder: Path) -> Iterator[telling.Sample]:
        for number, record in enumerate(shown):
            image, question = record["image"], record["question"][0].decode()
            answer = predictor.answer(image, question)
            path = folder / f"{number}.png"
            plots.attention_over_image(
                images.decode(image).numpy(),
                answer.attention,
                answer.top,
                title=question,
                path=path,
            )
            right = record["answer"][0].decode()
            yield telling.Sample(f"{question} **{answer.top[0][0]}** (right: {right})", path)

    return tell
