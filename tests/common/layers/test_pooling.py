"""Facts about pooling over time; expected values are computed by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.layers.pooling import masked_max, masked_mean

POOLINGS = [masked_mean, masked_max]
VALUES = np.array([[[1, -5], [3, -7], [9, 9]], [[-2, -2], [9, 9], [-4, -1]]], "float32")
MASK = np.array([[True, True, False], [True, False, True]])


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (masked_mean, [[2, -6], [-3, -1.5]]),
        (masked_max, [[3, -5], [-2, -1]]),
    ],
)
def test_padding_takes_no_part(pool, expected):
    np.testing.assert_array_equal(pool(tf.constant(VALUES), tf.constant(MASK)), expected)


@pytest.mark.parametrize("pool", POOLINGS)
def test_more_padding_changes_nothing(pool):
    longer = np.pad(VALUES, [(0, 0), (0, 2), (0, 0)], constant_values=1e6)
    longer_mask = np.pad(MASK, [(0, 0), (0, 2)])
    np.testing.assert_array_equal(
        pool(tf.constant(longer), tf.constant(longer_mask)),
        pool(tf.constant(VALUES), tf.constant(MASK)),
    )


@pytest.mark.parametrize("pool", POOLINGS)
def test_a_row_of_padding_gives_zeros(pool):
    pooled = pool(tf.constant(VALUES), tf.constant([[False] * 3, [True] * 3]))
    np.testing.assert_array_equal(pooled[0], [0, 0])


@pytest.mark.parametrize("pool", POOLINGS)
def test_padding_has_no_gradient_and_an_empty_row_no_nan(pool):
    values, mask = tf.Variable(VALUES), np.array([[False] * 3, [True, False, True]])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(pool(values, tf.constant(mask)))
    gradient = tape.gradient(total, values).numpy()
    np.testing.assert_array_equal(gradient[~mask], np.zeros_like(gradient[~mask]))
    assert gradient[1].sum() == 2.0  # one for each of the two columns


@pytest.mark.parametrize("pool", POOLINGS)
def test_in_a_model_batch_and_time_are_free(pool):
    values, mask = keras.Input((None, 2)), keras.Input((None,), dtype="bool")
    model = keras.Model([values, mask], pool(values, mask))
    whole = model([VALUES, MASK])
    np.testing.assert_array_equal(whole, pool(tf.constant(VALUES), tf.constant(MASK)))
    np.testing.assert_array_equal(model([VALUES[:1, :2], MASK[:1, :2]]), whole[:1])


@pytest.mark.parametrize("pool", POOLINGS)
def test_the_type_of_the_values_is_kept(pool):
    assert pool(tf.constant(VALUES, tf.bfloat16), tf.constant(MASK)).dtype == tf.bfloat16
