"""A model's outputs, question by question: batches of padded candidates -> lists of scores."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from apps.answer_selection import agreement, ranking
from apps.answer_selection.ranking import Ranked


class Scored(NamedTuple):
    """A question with what a model says of its candidates.

    `outputs` has an array (candidates, ...) by name.
    """

    question_id: str
    candidate_ids: list[str]
    labels: list[int]
    outputs: dict[str, np.ndarray]

    def ranked(self, name: str = "final") -> Ranked:
        """The candidates with the scores of that name; the final ones rank them."""
        return Ranked(*self[:3], self.outputs[name].tolist())


def make_reader(
    model: keras.Model,
    batches: tf.data.Dataset,
    *,
    names: Sequence[str] = ("score",),
    agreement_weight: float = 0.0,
) -> Callable[[], Iterator[Scored]]:
    """A function that scores `batches`, of `data.evaluation_batches`, each time it is called.

    It has the outputs of these names, and "final": the score, of the combination where there is
    one, with the agreement of the candidates. The graph is traced by the first call alone, which
    takes longer than a small validation part does.
    """
    inputs = {name: batches.element_spec[name] for name in model.input}

    @tf.function(input_signature=[inputs], autograph=False)  # one trace for batches of all sizes
    def outputs(taken):
        found = model(taken, training=False)
        chosen = {name: found[name] for name in names}
        chosen["final"] = found["score"]
        if agreement_weight:
            chosen |= {"ids": taken["candidate_ids"], "unasked": found["unasked"]}
        return chosen

    @tf.function(reduce_retracing=True, autograph=False)
    def agree(scores, ids, unasked):
        return agreement.agree(scores, ids, unasked, agreement_weight)

    def scorer(batch):
        found = outputs({name: batch[name] for name in inputs})
        return {name: value.numpy() for name, value in found.items()}

    def finish(one):
        if agreement_weight:
            pair = (one.outputs.pop(name) for name in ("ids", "unasked"))
            one.outputs["final"] = agree(one.outputs["final"], *pair).numpy()
        return one

    return lambda: map(
        finish, _by_question(row for batch in batches for row in _rows(batch, scorer(batch)))
    )


def read(
    model: keras.Model,
    batches: tf.data.Dataset,
    *,
    names: Sequence[str] = ("score",),
    agreement_weight: float = 0.0,
) -> Iterator[Scored]:
    """All questions of `data.evaluation_batches`, one batch in memory at a time."""
    return make_reader(model, batches, names=names, agreement_weight=agreement_weight)()


def join(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Outputs of candidates (candidates, ...) one after the other, padded to the longest time."""

    def joined(name: str) -> np.ndarray:
        arrays = [np.asarray(part[name]) for part in parts]
        if arrays[0].ndim > 1:
            time = max(one.shape[1] for one in arrays)
            rest = [(0, 0)] * (arrays[0].ndim - 2)
            arrays = [np.pad(one, [(0, 0), (0, time - one.shape[1]), *rest]) for one in arrays]
        return np.concatenate(arrays)

    return {name: joined(name) for name in parts[0]}


def _by_question(rows: Iterable[Scored]) -> Iterator[Scored]:
    """Joins the rows of a question, which stand one after the other."""
    for question_id, parts in groupby(rows, key=lambda row: row.question_id):
        ids, labels, outputs = zip(*(part[1:] for part in parts), strict=True)
        yield Scored(question_id, _joined(ids), _joined(labels), join(outputs))


def _rows(batch: dict, outputs: dict[str, np.ndarray]) -> Iterator[Scored]:
    # To NumPy once a batch: slicing tensors would cost more than the model.
    real, label = batch["is_candidate"].numpy(), batch["label"].numpy()
    ids, names = batch["question_id"].numpy(), batch["candidate_id"].numpy()
    for row, question_id in enumerate(ids):
        kept = real[row]
        yield Scored(
            question_id.decode(),
            [name.decode() for name in names[row][kept]],
            label[row][kept].tolist(),
            {name: value[row][kept] for name, value in outputs.items()},
        )


def _joined(parts: Iterable[list]) -> list:
    return list(chain.from_iterable(parts))


def make_validation(
    model: keras.Model,
    batches: tf.data.Dataset,
    *,
    protocol: ranking.Protocol,
    agreement_weight: float,
) -> keras.callbacks.Callback:
    """A callback that puts the ranking metrics of the validation questions among the epoch's."""
    read_all = make_reader(model, batches, agreement_weight=agreement_weight)

    def validate(epoch: int, logs: dict[str, float]) -> None:
        results = ranking.score_questions(question.ranked() for question in read_all())
        metrics = ranking.summarize(results, protocol).metrics
        logs.update({f"val_{name}": value for name, value in metrics.items()})

    return keras.callbacks.LambdaCallback(on_epoch_end=validate)
