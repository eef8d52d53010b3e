"""A model's outputs, question by question: batches of padded candidates -> lists of scores."""

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from apps.answer_selection.config import Protocol
from apps.answer_selection.ranking import agreement, metrics
from apps.answer_selection.ranking.metrics import Ranked
from common.lstm.layer import machine_code

AT_ONCE = 64  # candidates of a question that are scored in one call; bounds the memory


def make_ranker(
    model: keras.Model, batches: tf.data.Dataset
) -> Callable[[float], Iterator[Ranked]]:
    """A function of the weight of the agreement that ranks all questions of `batches`.

    The batches are those of `pipeline.evaluation_batches`; one of them is in memory at a time. The
    graph is traced by the first call alone, which takes longer than a small validation part does.
    """
    signature = [{name: batches.element_spec[name] for name in model.input}]

    @tf.function(input_signature=signature, autograph=False)  # one trace for batches of all sizes
    def network(inputs):
        with machine_code():
            return model(inputs, training=False)

    def rank(agreement_weight: float) -> Iterator[Ranked]:
        for batch in batches.as_numpy_iterator():
            questions = {name: batch[name] for name in model.input if name.startswith("question")}
            candidates = {name: batch[name] for name in model.input if name not in questions}
            parts = []
            for start in range(0, batch["label"].shape[1], AT_ONCE):
                end = start + AT_ONCE
                cut = {name: value[:, start:end] for name, value in candidates.items()}
                parts.append(network({**questions, **cut}))
            names = ("score", "unasked")
            values = {
                name: np.concatenate([part[name] for part in parts], axis=1) for name in names
            }
            values["ids"] = batch["candidate_ids"]
            for row, real in enumerate(batch["is_candidate"]):
                part = {name: value[row][real] for name, value in values.items()}
                yield Ranked(
                    batch["question_id"][row].decode(),
                    [name.decode() for name in batch["candidate_id"][row][real]],
                    batch["label"][row][real].tolist(),
                    agreement.final_scores([part], agreement_weight).tolist(),
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
        logs.update({f"val_{name}": value for name, value in summary.items()})

    return keras.callbacks.LambdaCallback(on_epoch_end=validate)
