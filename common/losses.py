"""Losses that average over real targets: weights come from the targets, never from a lost mask."""

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
