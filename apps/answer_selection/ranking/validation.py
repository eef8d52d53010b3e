"""A model's outputs, question by question: batches of padded candidates -> lists of scores."""

from collections.abc import Callable, Iterator
from itertools import chain, groupby

import keras
import numpy as np
import tensorflow as tf

from apps.answer_selection.config import Protocol
from apps.answer_selection.ranking import agreement, metrics
from apps.answer_selection.ranking.metrics import Ranked


def make_ranker(
    model: keras.Model, batches: tf.data.Dataset
) -> Callable[[float], Iterator[Ranked]]:
    """A function of the weight of the agreement that ranks all questions of `batches`.

    The batches are those of `data.evaluation_batches`; one of them is in memory at a time. The
    graph is traced by the first call alone, which takes longer than a small validation part does.
    """
    inputs = {name: batches.element_spec[name] for name in model.input}

    @tf.function(input_signature=[inputs], autograph=False)  # one trace for batches of all sizes
    def outputs(taken):
        computed = model(taken, training=False)
        return {name: computed[name] for name in ("score", "unasked")} | {
            "ids": taken["candidate_ids"]
        }

    def rows() -> Iterator[tuple[str, list[str], list[int], dict[str, np.ndarray]]]:
        for batch in batches:
            # To NumPy once a batch: slicing tensors would cost more than the model.
            values = {
                name: value.numpy()
                for name, value in outputs({name: batch[name] for name in inputs}).items()
            }
            names = ("question_id", "candidate_id", "label", "is_candidate")
            for row, (question_id, candidate_ids, label, real) in enumerate(
                zip(*(batch[name].numpy() for name in names), strict=True)
            ):
                yield (
                    question_id.decode(),
                    [candidate_id.decode() for candidate_id in candidate_ids[real]],
                    label[real].tolist(),
                    {name: value[row][real] for name, value in values.items()},
                )

    def rank(agreement_weight: float) -> Iterator[Ranked]:
        # A question with many candidates has several rows, which follow each other.
        for question_id, group in groupby(rows(), key=lambda row: row[0]):
            _, candidate_ids, labels, parts = zip(*group, strict=True)
            scores = agreement.final_scores(parts, agreement_weight)
            yield Ranked(
                question_id,
                list(chain.from_iterable(candidate_ids)),
                list(chain.from_iterable(labels)),
                scores.tolist(),
            )

    return rank


def make_validation(
    model: keras.Model, batches: tf.data.Dataset, *, protocol: Protocol, agreement_weight: float
) -> keras.callbacks.Callback:
    """A callback that puts the ranking metrics of the validation questions among the epoch's."""
    rank = make_ranker(model, batches)

    def validate(epoch: int, logs: dict[str, float]) -> None:
        results = metrics.score_questions(rank(agreement_weight))
        summary = metrics.summarize(results, protocol)
        logs.update({f"val_{name}": value for name, value in summary.metrics.items()})

    return keras.callbacks.LambdaCallback(on_epoch_end=validate)
