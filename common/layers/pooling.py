"""From a sequence to a vector: (batch, time, dim), mask (batch, time) bool -> (batch, dim).

`True` = real. Padding never changes a result; a row without any real step gives zeros.
"""

import keras


def masked_mean(values, mask):
    """Mean over the real steps."""
    weight = keras.ops.expand_dims(keras.ops.cast(mask, values.dtype), -1)  # (batch, time, 1)
    return keras.ops.sum(values * weight, axis=1) / keras.ops.maximum(
        keras.ops.sum(weight, axis=1), 1
    )


def masked_max(values, mask):
    """Maximum over the real steps."""
    real = keras.ops.expand_dims(mask, -1)  # (batch, time, 1)
    highest = keras.ops.max(keras.ops.where(real, values, float("-inf")), axis=1)
    return keras.ops.where(keras.ops.any(real, axis=1), highest, 0.0)
