"""What validation tells beside the accuracy."""

import keras
from keras import ops


class LargestShare(keras.metrics.Metric):
    """The share of the most frequent answer among the predictions: 1 if a model does not look.

    Args:
        num_answers: classes.
    """

    def __init__(self, num_answers: int):
        super().__init__(name="largest_share")
        self.counts = self.add_variable((num_answers,), "zeros", name="counts")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts predictions: logits (..., answers), weights (...), of which 0 does not count."""
        given = ops.one_hot(ops.argmax(y_pred, axis=-1), y_pred.shape[-1])
        if sample_weight is not None:
            given = given * ops.cast(sample_weight > 0, given.dtype)[..., None]
        self.counts.assign_add(ops.sum(given, axis=tuple(range(len(given.shape) - 1))))

    def result(self):
        """A number; 0 before the first prediction."""
        return ops.divide_no_nan(ops.max(self.counts), ops.sum(self.counts))
