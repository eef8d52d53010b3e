"""A model's scores, question by question: batches of padded candidates -> lists of scores."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby

import keras
import numpy as np
import tensorflow as tf

from apps.answer_selection.ranking import Ranked


def make_scorer(model: keras.Model, element_spec: dict) -> Callable[[dict], np.ndarray]:
    """A function from a batch to scores, float (batch, candidates)."""
    inputs = {name: element_spec[name] for name in model.input}

    @tf.function(input_signature=[inputs], autograph=False)  # one trace for batches of all sizes
    def scores(taken):
        return model(taken, training=False)["score"]

    return lambda batch: scores({name: batch[name] for name in inputs}).numpy()


def score(model: keras.Model, batches: tf.data.Dataset) -> Iterator[Ranked]:
    """Scores all questions of `data.evaluation_batches`, one batch in memory at a time."""
    scorer = make_scorer(model, batches.element_spec)
    rows = (row for batch in batches for row in _rows(batch, scorer(batch)))
    for question_id, parts in groupby(rows, key=lambda row: row.question_id):
        ids, labels, scores = zip(*(part[1:] for part in parts), strict=True)
        yield Ranked(question_id, _joined(ids), _joined(labels), _joined(scores))


def _rows(batch: dict, scores: np.ndarray) -> Iterator[Ranked]:
    # To NumPy once a batch: slicing tensors would cost more than the model.
    real, label = batch["is_candidate"].numpy(), batch["label"].numpy()
    ids, names = batch["question_id"].numpy(), batch["candidate_id"].numpy()
    for row, question_id in enumerate(ids):
        kept = real[row]
        yield Ranked(
            question_id.decode(),
            [name.decode() for name in names[row][kept]],
            label[row][kept].tolist(),
            scores[row][kept].tolist(),
        )


def _joined(parts: Iterable[list]) -> list:
    return list(chain.from_iterable(parts))
