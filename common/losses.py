"""Losses that average over real targets: weights come from the targets, never from a lost mask."""

from collections.abc import Callable

import keras


def weighted_cross_entropy() -> keras.losses.Loss:
    """Cross-entropy of class ids, averaged over the targets of weight above zero.

    loss = sum(weight * -log softmax(logits)[target]) / sum(weight)

    Shapes: target int32 (batch, ...), logits float (batch, ..., classes), sample_weight float32
    (batch, ...). With Keras' default reduction the padded targets would count in the denominator.
    """
    return keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="mean_with_sample_weight"
    )


def smoothed_cross_entropy(smoothing: float) -> Callable:
    """For `compile`: cross-entropy against targets of which a share is spread over all classes.

    loss = mean of -(1 - smoothing) log p(target) - smoothing * mean over classes of log p

    Szegedy et al. 2016, https://arxiv.org/abs/1512.00567. Shapes: target int32 (steps,), logits
    float (steps, classes), sample_weight float (steps,): the mean is over steps, whatever their
    weights, so that these may be rewards.
    """

    def loss(target, logits):
        log_probs = keras.ops.log_softmax(keras.ops.cast(logits, "float32"))
        right = keras.ops.take_along_axis(log_probs, keras.ops.cast(target, "int32")[:, None], -1)
        spread = keras.ops.mean(log_probs, axis=-1)
        return -(1 - smoothing) * right[:, 0] - smoothing * spread

    return loss
