"""Trainings of answer selection without the steps that cost time."""

from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from apps.answer_selection import data, train
from common.training import fit


class Fit(NamedTuple):
    """What a network would have been fitted on, and its weights before that."""

    seed: int
    question_ids: set[str]
    num_questions: int
    weights: list[np.ndarray]


@pytest.fixture(scope="module")
def fits():
    """Trainings keep their networks as they were made; yields what each would have seen.

    No graph is traced for the few batches there are.
    """
    made: list[Fit] = []

    def keep(model, shown, run, config, *, seed):
        ids = {one["question_id"].decode() for one in shown.examples.as_numpy_iterator()}
        made.append(Fit(seed, ids, len(shown.found.lengths), model.get_weights()))
        run.save_model(model)
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "_fit", keep)
        patch.setattr(data.TrainingData, "summary", lambda _: "")
        patch.setattr(fit, "report_rates", lambda *_, **__: None)
        tf.config.run_functions_eagerly(True)
        yield made
        tf.config.run_functions_eagerly(False)
