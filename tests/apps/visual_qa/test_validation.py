"""Facts about what validation tells."""

import numpy as np

from apps.visual_qa.validation import LargestShare


def test_the_share_of_the_most_frequent_answer_by_hand():
    metric = LargestShare(3)
    first = np.eye(3, dtype="float32")[[[0, 1], [1, 2]]]
    metric.update_state(None, first, sample_weight=np.array([[1.0, 1.0], [0.5, 0.0]]))
    assert float(metric.result()) == np.float32(2 / 3)  # what has no weight does not count
    metric.update_state(None, np.eye(3, dtype="float32")[[[0, 0]]])
    assert float(metric.result()) == np.float32(3 / 5)
    metric.reset_state()
    assert float(metric.result()) == 0.0
