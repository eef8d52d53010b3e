"""Scores of real decoding during a training."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from common.inputs import pipeline
from common.scoring import metrics, translations

_MAX_VALIDATION = 1000  # pairs


class Texts(NamedTuple):
    """Pairs of a split; `languages` are those of the targets."""

    sources: list[str]
    targets: list[str]
    languages: list[str]

    @property
    def tagged(self) -> list[str]:
        """Sources with the tags of their languages, as `model.Translator` takes them."""
        rows = zip(self.languages, self.sources, strict=True)
        return [f">>{language}<< {source}" for language, source in rows]

    def at(self, places: Iterable[int]) -> "Texts":
        """Some of them."""
        places = list(places)
        return Texts(*([side[place] for place in places] for side in self))


def read(records: Iterable[dict]) -> Texts:
    """All records of `data.load_split`."""
    texts = Texts([], [], [])
    for record in records:
        for side, name in zip(texts, ("source", "target", "target_language"), strict=True):
            side.append(record[name].decode())
    return texts


class ValidationScores(keras.callbacks.Callback):
    """Puts val_bleu, val_chrf and val_exact_match of greedy translations into each epoch's logs.

    val_largest_share is that of the most frequent translation: 1 for a model that does not read.
    Free-running, never teacher-forced; of the first 1,000 pairs in `records`. Stands before the
    callbacks that read the logs.
    """

    def __init__(self, translator, records: tf.data.Dataset, *, batch_size: int):
        super().__init__()
        self.records, self.batch_size = records.take(_MAX_VALIDATION), batch_size

        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
        def write(text):
            ids = translator.decode(translator.encode(text)).token_ids
            return translator.subwords.decode(ids[:, 0])

        self.write = write

    def on_epoch_end(self, epoch, logs: Any = None):
        """Writes and scores translations."""
        texts = read(self.records.as_numpy_iterator())
        written = translate(self.write, texts.tagged, batch_size=self.batch_size)
        scores = translations.score(written, texts.targets, texts.languages)
        for name in ("bleu", "chrf", "exact_match"):
            logs[f"val_{name}"] = scores[name]
        logs["val_largest_share"] = metrics.answer_collapse(written).share


def translate(write, sources: Sequence[str], *, batch_size: int) -> list[str]:
    """What `write` makes of texts, those of like length together."""
    order = sorted(range(len(sources)), key=lambda place: len(sources[place]))
    written = [""] * len(sources)
    for places in pipeline.chunks(order, batch_size):
        texts = write(tf.constant([sources[place] for place in places])).numpy()
        for place, text in zip(places, texts, strict=True):
            written[place] = text.decode()
    return written
