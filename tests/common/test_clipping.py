"""Facts about gradient clipping."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.clipping import ClippedAdam

GRADIENTS = [np.array([3.0, -4.0], "float32"), np.array([[12.0]], "float32")]  # norm 13


def updated(optimizer, gradients=GRADIENTS, steps=1):
    variables = [keras.Variable(np.zeros_like(g)) for g in gradients]
    for _ in range(steps):
        given = zip([tf.constant(g) for g in gradients], variables, strict=True)
        optimizer.apply_gradients(given)
    return [v.numpy() for v in variables]


@pytest.mark.parametrize("clip_norm", [1.0, 13.5])
def test_the_norm_is_clipped_as_in_keras(clip_norm):
    ours = updated(ClippedAdam(0.1, global_clipnorm=clip_norm, epsilon=1.0))
    theirs = updated(keras.optimizers.Adam(0.1, global_clipnorm=clip_norm, epsilon=1.0))
    for got, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        ({"global_clipnorm": 12.9}, 3),
        ({"global_clipnorm": 13.1}, 0),
        ({"clipvalue": 11.9}, 3),
        ({"clipvalue": 12.1}, 0),
        ({}, 0),
    ],
)
def test_steps_that_were_clipped_are_counted(limits, count):
    optimizer = ClippedAdam(0.1, **limits)
    updated(optimizer, steps=3)
    assert int(optimizer.num_clipped) == count


def test_the_count_is_saved_with_the_optimizer(tmp_path):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(ClippedAdam(0.1, global_clipnorm=1e-3), "mse")
    model.fit(np.ones((4, 2)), np.ones(4) * 9, batch_size=2, epochs=3, verbose=0)
    assert int(model.optimizer.num_clipped) == 6
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert int(again.optimizer.num_clipped) == 6
    assert again.optimizer.global_clipnorm == 1e-3
