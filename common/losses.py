"""Losses that average over real targets: weights come from the targets, never from a lost mask."""

from collections.abc import Callable

import keras
from keras import ops

from common import strategies


class WeightedMean(keras.losses.Loss):
    """Averages what `call` gives over the targets of weight above zero.

    loss = sum(weight * value) / sum(weight), over the batch of all replicas: where one of them has
    more real targets than another, the gradient is still that of one process with the whole batch.
    Without weights all are 1; where all are 0, so is the loss.
    """

    def __call__(self, y_true, y_pred, sample_weight=None):
        """The loss, a number."""
        values = self.call(ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred))
        if sample_weight is None:
            sample_weight = ops.ones_like(values)
        weight = ops.cast(sample_weight, values.dtype)
        total = strategies.sum_over_replicas(ops.sum(weight))
        return ops.divide_no_nan(ops.sum(weight * values), total)


@keras.saving.register_keras_serializable("cellstate")
class WeightedCrossEntropy(WeightedMean):
    """Cross-entropy of class ids, averaged over the targets of weight above zero.

    loss = sum(weight * -log softmax(logits)[target]) / sum(weight)

    Shapes: target int32 (batch, ...), logits float (batch, ..., classes), sample_weight float32
    (batch, ...). With Keras' default reduction the padded targets would count in the denominator.
    """

    def call(self, y_true, y_pred):
        """-log softmax(logits)[target], of the shape of the targets."""
        return ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)


def smoothed_cross_entropy(smoothing: float) -> Callable:
    """For `compile`: cross-entropy against targets of which a share is spread over all classes.

    loss = mean of -(1 - smoothing) log p(target) - smoothing * mean over classes of log p

    Szegedy et al. 2016, https://arxiv.org/abs/1512.00567. Shapes: target int32 (steps,), logits
    float (steps, classes), sample_weight float (steps,): the mean is over steps, whatever their
    weights, so that these may be rewards.
    """

    def loss(target, logits):
        logits = ops.cast(logits, "float32")
        # Both are one operation with its own gradient.
        if not smoothing:
            return ops.sparse_categorical_crossentropy(target, logits, from_logits=True)
        classes = logits.shape[-1]
        wanted = (1 - smoothing) * ops.one_hot(target, classes) + smoothing / classes
        return ops.categorical_crossentropy(wanted, logits, from_logits=True)

    return loss
