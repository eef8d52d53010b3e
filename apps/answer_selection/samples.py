"""What a network in training ranks first for a few validation questions, for TensorBoard."""

from collections.abc import Iterator
from pathlib import Path

import keras

from apps.answer_selection import data, plots
from apps.answer_selection.config import Config
from apps.answer_selection.predict import Predictor, make_ranker
from common.inputs.text import Vocabulary
from common.training import logging as training_log


def make_samples(model: keras.Model, words: Vocabulary, config: Config) -> training_log.Samples:
    """Ranks the candidates of the first questions of the validation part."""
    predictor = Predictor(make_ranker(model, words, config))
    records = data.load_split(config.data, "validation")
    shown = list(records.take(training_log.NUM_SAMPLES).as_numpy_iterator())

    def tell(folder: Path) -> Iterator[training_log.Sample]:
        for number, record in enumerate(shown):
            question = record["question"].decode()
            candidates = [one.decode() for one in record["candidates"]]
            ranked = [one.text for one in predictor.rank(question, candidates).sentences]
            right = dict(zip(candidates, record["labels"], strict=True))
            lines = [
                f"{place}. {one}{' **(right)**' if right[one] else ''}"
                for place, one in enumerate(ranked[:5], start=1)
            ]
            path = folder / f"{number}.png"
            title = f"{question}  ->  {ranked[0]}"
            explained = predictor.explain(question, ranked[0])
            plots.attention_over_words(*explained, title=title, path=path)
            yield training_log.Sample("\n".join([f"{question}\n", *lines]), path)

    return tell
