"""Gradients of gradients through the fast LSTM: slopes of the first ones, in whatever way taken."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.layers import recurrent
from common.lstm.layer import LSTM, Bidirectional

BATCH, TIME, DIM, UNITS = 6, 3, 2, 3
RANDOM = np.random.default_rng(5)
VALUES = RANDOM.normal(size=(BATCH, TIME, DIM)).astype("float32")
MASKS = {
    "none": None,
    "right": np.arange(TIME) < np.array([3, 1, 0, 2, 3, 1])[:, None],
    "holes": RANDOM.random((BATCH, TIME)) < 0.6,
}


def penalty_of(total, sources):
    """A penalty on the gradient of a total at its first source: sum(gradient ** 3)."""
    with tf.GradientTape() as tape:
        tape.watch(sources)
        value = total(*sources)
    return tf.reduce_sum(tape.gradient(value, sources[0]) ** 3)


def by_tapes(total, sources):
    """The penalty and its gradient at all sources."""
    with tf.GradientTape() as tape:
        tape.watch(sources)
        penalty = penalty_of(total, sources)
    return [penalty, *tape.gradient(penalty, sources)]


def by_gradients(total, sources):
    """The same by `tf.gradients`."""
    penalty = tf.reduce_sum(tf.gradients(total(*sources), sources[:1])[0] ** 3)
    return [penalty, *tf.gradients(penalty, sources)]


def around_a_function(total, sources):
    """The same by tapes that stand outside of the function, which may be read again."""
    traced = tf.function(total)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(sources)
        with tf.GradientTape() as inner:
            inner.watch(sources)
            value = traced(*sources)
        penalty = tf.reduce_sum(inner.gradient(value, sources[0]) ** 3)
    return [penalty, *outer.gradient(penalty, sources)]


WAYS = {
    "eager": by_tapes,
    "function": lambda *inputs: tf.function(lambda: by_tapes(*inputs))(),
    "tf.gradients": lambda *inputs: tf.function(lambda: by_gradients(*inputs))(),
    "around": around_a_function,
}


def make_total(kind, mask, training, batch):
    """A number of inputs and weights, and these."""
    layer = LSTM(UNITS, return_sequences=True)
    layer = Bidirectional(layer) if kind == "both" else layer
    layer.build(VALUES.shape)
    mask = None if mask is None else tf.constant(mask[:batch])

    def total(values, *weights):
        scope = zip(layer.trainable_variables, weights, strict=True)
        with keras.StatelessScope(state_mapping=list(scope)):
            return tf.reduce_sum(layer(values, mask=mask, training=training) ** 2)

    weights = [RANDOM.normal(size=v.shape) / 2 for v in layer.trainable_variables]
    return total, [tf.constant(array, tf.float32) for array in (VALUES[:batch], *weights)]


@pytest.mark.parametrize(
    ("kind", "mask", "training", "batch", "way"),
    [  # 2 sequences: the one operation of loops.py, 6: its loop
        *(("one", "right", True, BATCH, way) for way in WAYS),
        ("both", "holes", True, BATCH, "eager"),
        ("both", "none", True, 2, "function"),
        ("one", "none", False, 2, "eager"),
        ("one", "right", False, 2, "function"),
        ("one", "holes", False, BATCH, "eager"),
    ],
)
def test_the_gradient_of_a_gradient_is_its_slope(kind, mask, training, batch, way):
    total, sources = make_total(kind, MASKS[mask], training, batch)
    _, *gradients = WAYS[way](total, sources)
    for _ in range(2):
        directions = [RANDOM.normal(size=s.shape).astype("float32") for s in sources]
        ends = []
        for step in (0.01, -0.01):
            pairs = zip(sources, directions, strict=True)
            ends.append(penalty_of(total, [source + step * along for source, along in pairs]))
        pairs = list(zip(gradients, directions, strict=True))
        expected = float(ends[0] - ends[1]) / 0.02
        size = sum(float(np.linalg.norm(g) * np.linalg.norm(along)) for g, along in pairs)
        assert abs(sum(float(tf.reduce_sum(g * d)) for g, d in pairs) - expected) < 0.01 * size


def test_a_third_gradient_and_a_forward_one_are_those_of_keras():
    results = []
    for kind in (LSTM, keras.layers.LSTM):
        keras.utils.set_random_seed(1)
        layer = kind(UNITS, return_sequences=True, zero_output_for_mask=True)
        values, mask = tf.constant(VALUES), tf.constant(MASKS["right"])
        layer.build(values.shape)

        def total(values, layer=layer, mask=mask):
            return tf.reduce_sum(layer(values, mask=mask, training=True) ** 2)

        with tf.GradientTape() as third:
            third.watch(values)
            penalty, slope = by_tapes(total, [values])
            again = tf.reduce_sum(slope**2)
        with tf.autodiff.ForwardAccumulator(values, tf.ones_like(values)) as forward:
            with tf.GradientTape() as tape:
                tape.watch(values)
                value = total(values)
            gradient = tape.gradient(value, values)
        with tf.GradientTape() as tape:
            tape.watch(values)
            outputs = layer(values, mask=mask, training=True)
        rows = tape.batch_jacobian(outputs, values)
        results.append(
            [
                penalty,
                third.gradient(again, values),
                forward.jvp(value),
                forward.jvp(gradient),
                rows,
            ]
        )
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["elman", "gru"])
def test_through_the_loop_of_other_cells_too(cell):
    layer = recurrent.make_layer(cell, UNITS, return_sequences=True)
    layer.build(VALUES.shape)

    def total(values):
        return tf.reduce_sum(layer(values, mask=tf.constant(MASKS["right"])) ** 2)

    values, direction = tf.constant(VALUES), RANDOM.normal(size=VALUES.shape).astype("float32")
    _, gradient = WAYS["function"](total, [values])
    ends = [penalty_of(total, [values + step * direction]) for step in (0.01, -0.01)]
    expected = float(ends[0] - ends[1]) / 0.02
    assert float(tf.reduce_sum(gradient * direction)) == pytest.approx(expected, rel=0.03)


def test_a_first_gradient_has_no_operation_for_the_second():
    layer = Bidirectional(LSTM(16, return_sequences=True))
    layer.build((None, None, DIM))

    @tf.function(input_signature=[tf.TensorSpec([None, None, DIM])])
    def gradients(values):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(layer(values, training=True))
        return tape.gradient(total, layer.trainable_variables)

    graph = gradients.get_concrete_function().graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert kinds.count("PyFuncStateless") == 2 and kinds.count("IdentityN") == 1
    assert not any("While" in kind or "Call" in kind or "TensorList" in kind for kind in kinds)
