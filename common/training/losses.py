"""Losses and metrics over real targets: weights come from the targets, never from a lost mask."""

import keras
import tensorflow as tf
from keras import ops

from common.runs.registration import registered
from common.training import strategies


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


@registered("common.training.losses")
class WeightedCrossEntropy(WeightedMean):
    """Cross-entropy of class ids, averaged over the targets of weight above zero.

    loss = sum(weight * -log softmax(logits)[target]) / sum(weight)

    Shapes: target int32 (batch, ...), logits float (batch, ..., classes), sample_weight float32
    (batch, ...). With Keras' default reduction the padded targets would count in the denominator.
    """

    def call(self, y_true, y_pred):
        """-log softmax(logits)[target], of the shape of the targets."""
        return ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)


class StepsCrossEntropy(keras.losses.Loss):
    """Cross-entropy of the real steps of sequences, a share of each target spread over all classes.

    loss = mean over real steps of
        -(1 - smoothing) log p(target) - smoothing * mean over classes of log p

    Szegedy et al. 2016, https://arxiv.org/abs/1512.00567. The mean is over all replicas.

    Shapes: target int32 (batch, ..., time), -1 where there is no step; logits float
    (steps, classes) of the real steps alone, row by row. It takes no weights.

    Args:
        smoothing: the share, 0 to 1.
    """

    def __init__(self, smoothing: float = 0.0):
        super().__init__()
        self.smoothing = smoothing

    def __call__(self, y_true, y_pred, sample_weight=None):
        """The loss, a number."""
        values = self.call(tf.boolean_mask(y_true, y_true >= 0), y_pred)
        count = strategies.sum_over_replicas(tf.cast(tf.size(values), values.dtype))
        return tf.math.divide_no_nan(tf.reduce_sum(values), count)

    def call(self, y_true, y_pred):
        """Of target int32 (steps,) and logits (steps, classes), float32 (steps,)."""
        logits = ops.cast(y_pred, "float32")
        # Both are one operation with its own gradient.
        if not self.smoothing:
            return ops.sparse_categorical_crossentropy(y_true, logits, from_logits=True)
        classes = logits.shape[-1]
        target = (1 - self.smoothing) * ops.one_hot(y_true, classes) + self.smoothing / classes
        return ops.categorical_crossentropy(target, logits, from_logits=True)


def accuracy(y_true, y_pred):
    """For `compile`: 1 where the class of a real step of `StepsCrossEntropy` is right, float32."""
    predicted = tf.argmax(y_pred, axis=-1, output_type=y_true.dtype)
    return tf.cast(predicted == tf.boolean_mask(y_true, y_true >= 0), tf.float32)


class StepsAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """The share of the steps of weight above zero whose class is right.

    Shapes as of `WeightedCrossEntropy`. Keras' own averages each padded row first, so that steps of
    a batch of long rows would count less.
    """

    def __init__(self):
        super().__init__(name="accuracy")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts the steps of a batch."""
        weight = None if sample_weight is None else ops.reshape(sample_weight, [-1])
        logits = ops.reshape(y_pred, [-1, y_pred.shape[-1]])
        return super().update_state(ops.reshape(y_true, [-1]), logits, weight)


class LargestShare(keras.metrics.Metric):
    """The share of the most frequent class among the predictions: 1 if a model does not look.

    Args:
        num_classes: of the logits.
    """

    def __init__(self, num_classes: int):
        super().__init__(name="largest_share")
        self.counts = self.add_variable((num_classes,), "zeros", name="counts")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts predictions: logits (..., classes), weights (...), of which 0 does not count."""
        best = ops.one_hot(ops.argmax(y_pred, axis=-1), y_pred.shape[-1])
        if sample_weight is not None:
            best = best * ops.cast(sample_weight > 0, best.dtype)[..., None]
        self.counts.assign_add(ops.sum(best, axis=tuple(range(len(best.shape) - 1))))

    def result(self):
        """A number; 0 before the first prediction."""
        return ops.divide_no_nan(ops.max(self.counts), ops.sum(self.counts))
