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


def last_real(values, mask):
    """The value at the last real step, wherever the padding is."""
    # The number of real steps up to each; at the last real one it reaches the total.
    real = keras.ops.cast(mask, "int32")
    count = keras.ops.cumsum(real, axis=1)  # (batch, time)
    total = keras.ops.sum(real, axis=1, keepdims=True)
    is_last = keras.ops.logical_and(mask, keras.ops.equal(count, total))
    return keras.ops.einsum("bt,btd->bd", keras.ops.cast(is_last, values.dtype), values)
