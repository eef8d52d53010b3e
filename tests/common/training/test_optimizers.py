"""Facts about learning rates, gradient clipping and averaged weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.training.optimizers import ClippedAdam, InverseRoot, make_optimizer

GRADIENTS = [np.array([3.0, -4.0], "float32"), np.array([[12.0]], "float32")]  # norm 13


def updated(optimizer, gradients=GRADIENTS, steps=1):
    variables = [keras.Variable(np.zeros_like(g)) for g in gradients]
    for _ in range(steps):
        pairs = zip([tf.constant(g) for g in gradients], variables, strict=True)
        optimizer.apply_gradients(pairs)
    return [v.numpy() for v in variables]


@pytest.mark.parametrize("clip_norm", [1.0, 13.5])
def test_the_norm_is_clipped_as_in_keras(clip_norm):
    ours = updated(ClippedAdam(0.1, global_clipnorm=clip_norm, epsilon=1.0))
    theirs = updated(keras.optimizers.Adam(0.1, global_clipnorm=clip_norm, epsilon=1.0))
    for got, expected in zip(ours, theirs, strict=True):
        # Keras rounds 1 - beta_2 in another way than 1 - beta_2 ** step.
        np.testing.assert_allclose(got, expected, rtol=2e-5)


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        ({"global_clipnorm": 12.9}, 3),
        ({"global_clipnorm": 13.1}, 0),
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
    model.compile(ClippedAdam(0.1, global_clipnorm=1e-3), "mse", run_eagerly=True)
    model.fit(np.ones((4, 2)), np.ones(4) * 9, batch_size=2, epochs=3, verbose=0)
    assert int(model.optimizer.num_clipped) == 6
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert int(again.optimizer.num_clipped) == 6
    assert again.optimizer.global_clipnorm == 1e-3


def test_the_cosine_rises_in_a_line_and_falls_to_zero():
    rate = made(warmup_steps=4, total_steps=12)._learning_rate
    rates = [float(rate(step)) for step in range(14)]
    np.testing.assert_allclose(rates[:4], [0.0, 0.025, 0.05, 0.075], atol=1e-8)
    np.testing.assert_allclose(
        rates[4:12], 0.05 * (1 + np.cos(np.pi * np.arange(8) / 8)), rtol=1e-5
    )
    np.testing.assert_allclose(rates[12:], 0, atol=1e-8)


def test_the_inverse_root_is_highest_when_it_has_risen():
    # Vaswani et al. 2017, equation 3, scaled to its highest value; their steps begin at 1.
    rate = InverseRoot(0.4, warmup_steps=4)
    steps = np.arange(1, 30)
    expected = 0.4 * 4**0.5 * np.minimum(steps**-0.5, steps * 4**-1.5)
    np.testing.assert_allclose([float(rate(step - 1)) for step in steps], expected, rtol=1e-5)


def made(**options):
    fixed = {"schedule": "cosine", "warmup_steps": 0, "total_steps": 100, "clip_norm": 5.0}
    return make_optimizer(0.1, **{**fixed, "average": 0.0, **options})


def test_averages_are_swapped_in_and_out():
    optimizer = made(average=0.75)
    weight = keras.Variable(np.array([1.0, 2.0], "float32"))
    optimizer.build([weight])
    weights = []
    for _ in range(3):
        optimizer.apply([tf.constant([1.0, -1.0])], [weight])
        weights.append(weight.numpy())
    average = weights[0]
    for value in weights[1:]:
        average = 0.75 * average + 0.25 * value
    optimizer.swap_averages()
    np.testing.assert_allclose(weight.numpy(), average, rtol=1e-6)
    optimizer.swap_averages()
    np.testing.assert_array_equal(weight.numpy(), weights[-1])


def test_a_fit_leaves_the_weights_that_were_trained():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(made(average=0.9), "mse", run_eagerly=True)
    model.fit(np.ones((4, 2)), np.ones(4) * 9, batch_size=2, epochs=1, verbose=0)
    trained = model.get_weights()
    model.optimizer.swap_averages()
    assert np.abs(model.get_weights()[0] - trained[0]).max() > 1e-3


def test_half_precision_keeps_gradients_that_are_too_small_for_it():
    policy = keras.DTypePolicy("mixed_float16")
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1, dtype=policy, use_bias=False)(inputs))
    model.set_weights([np.zeros((1, 1), "float32")])
    tiny = np.full((1, 1), 2.0**-13, "float32")  # its square, about the gradient, is 0 in float16
    model.compile(made(precision="float16"), "mse")
    model.fit(tiny, tiny * 0.5, epochs=1, verbose=0)
    assert float(model.get_weights()[0][0, 0]) > 0
    assert int(model.optimizer.inner_optimizer.iterations) == 1


def test_matrices_decay_apart_from_the_gradient_and_biases_do_not():
    optimizer = ClippedAdam(0.1, weight_decay=0.5)
    vector, matrix = (keras.Variable(np.ones(shape, "float32")) for shape in ((3,), (2, 2)))
    gradients = [tf.zeros(3), tf.zeros((2, 2))]
    for _ in range(3):
        optimizer.apply_gradients(zip(gradients, (vector, matrix), strict=True))
    np.testing.assert_array_equal(vector, 1.0)
    np.testing.assert_allclose(matrix, (1 - 0.1 * 0.5) ** 3, rtol=1e-6)
