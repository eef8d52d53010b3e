"""Facts about attention, against NumPy written from the formulas of the two papers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.layers.attention import AdditiveAttention, MultiplicativeAttention

BATCH, QUERIES, TIME, QUERY_DIM, KEY_DIM, UNITS = 3, 2, 5, 4, 6, 7
RANDOM = np.random.default_rng(0)
QUERY = RANDOM.normal(size=(BATCH, QUERIES, QUERY_DIM)).astype("float32")
KEYS = RANDOM.normal(size=(BATCH, TIME, KEY_DIM)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 1, 0, 1, 0]], bool)
NOTHING_REAL = np.array([[1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]], bool)

MAKERS = {
    "additive": lambda **options: AdditiveAttention(UNITS, **options),
    "multiplicative": MultiplicativeAttention,
}
KINDS = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@pytest.fixture(params=MAKERS)
def layer(request):
    keras.utils.set_random_seed(1)
    layer = MAKERS[request.param]()
    layer(QUERY, KEYS)
    for weight in layer.weights:  # a bias too must be other than zero to be seen
        weight.assign(RANDOM.normal(size=weight.shape))
    return layer


def with_numpy(layer, query, keys, mask):
    """Both formulas step by step, in float64."""
    weights = {w.path.split("/", 1)[-1]: w.numpy().astype("float64") for w in layer.weights}
    contexts = np.zeros((len(query), query.shape[1], keys.shape[2]))
    all_shares = np.zeros((len(query), query.shape[1], keys.shape[1]))
    for b, q in np.ndindex(query.shape[:2]):
        real = np.flatnonzero(mask[b])
        scores = []
        for t in real:
            if isinstance(layer, AdditiveAttention):
                hidden = query[b, q] @ weights["query/kernel"] + keys[b, t] @ weights["keys/kernel"]
                hidden = np.tanh(hidden + weights["keys/bias"])
                scores.append(hidden @ weights["score/kernel"][:, 0])
            else:
                scores.append(query[b, q] @ (keys[b, t] @ weights["keys/kernel"]))
        shares = np.exp(scores) / np.sum(np.exp(scores))
        all_shares[b, q, real] = shares
        contexts[b, q] = shares @ keys[b, real]
    return contexts, all_shares


def test_context_and_weights_follow_the_formula(layer):
    context, weights = layer(QUERY, KEYS, mask=tf.constant(MASK))
    expected_context, expected_weights = with_numpy(layer, QUERY, KEYS, MASK)
    np.testing.assert_allclose(weights, expected_weights, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(context, expected_context, rtol=1e-5, atol=1e-6)


def test_without_a_mask_every_step_is_real(layer):
    _, weights = layer(QUERY, KEYS)
    _, expected = with_numpy(layer, QUERY, KEYS, np.ones_like(MASK))
    np.testing.assert_allclose(weights, expected, rtol=1e-5, atol=1e-6)


def test_keys_that_were_projected_before_are_not_projected_again(layer):
    mask = tf.constant(MASK)
    projected = layer.project(KEYS)
    kernel = next(weight for weight in layer.weights if weight.path.endswith("keys/kernel"))
    expected = layer(QUERY, KEYS, mask=mask)
    kernel.assign(tf.zeros_like(kernel))
    for got, before in zip(
        layer(QUERY, KEYS, mask=mask, projected=projected), expected, strict=True
    ):
        np.testing.assert_array_equal(got, before)


def test_the_weights_of_a_query_sum_to_one(layer):
    _, weights = layer(QUERY, KEYS, mask=tf.constant(MASK))
    np.testing.assert_allclose(np.sum(weights, axis=-1), np.ones((BATCH, QUERIES)), rtol=1e-6)


def test_masked_steps_weigh_exactly_nothing(layer):
    _, weights = layer(QUERY, KEYS, mask=tf.constant(MASK))
    np.testing.assert_array_equal(weights.numpy() > 0, np.repeat(MASK[:, None], QUERIES, axis=1))


def test_a_row_without_a_real_step_gives_zeros(layer):
    context, weights = layer(QUERY, KEYS, mask=tf.constant(NOTHING_REAL))
    assert np.abs(context[1]).max() == np.abs(weights[1]).max() == 0.0


def test_a_row_without_a_real_step_has_a_gradient_of_zero(layer):
    keys = tf.Variable(KEYS)
    with tf.GradientTape() as tape:
        context, weights = layer(QUERY, keys, mask=tf.constant(NOTHING_REAL))
        total = tf.reduce_sum(context) + tf.reduce_sum(weights**2)
    gradient = tape.gradient(total, keys).numpy()
    assert np.abs(gradient[1]).max() == 0.0
    assert np.isfinite(gradient).all()


def test_padding_changes_nothing(layer):
    longer = np.pad(KEYS, [(0, 0), (0, 3), (0, 0)], constant_values=50.0)
    longer_mask = np.pad(MASK, [(0, 0), (0, 3)])
    context, weights = layer(QUERY, KEYS, mask=tf.constant(MASK))
    padded_context, padded_weights = layer(QUERY, longer, mask=tf.constant(longer_mask))
    np.testing.assert_allclose(padded_context, context, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(padded_weights[..., :TIME], weights, rtol=1e-5, atol=1e-6)


def test_very_large_scores_stay_finite(layer):
    context, weights = layer(1e4 * QUERY, 1e4 * KEYS, mask=tf.constant(MASK))
    np.testing.assert_allclose(np.sum(weights, axis=-1), np.ones((BATCH, QUERIES)), rtol=1e-6)
    assert np.isfinite(context).all()


def in_a_model(layer):
    query, keys = keras.Input((None, QUERY_DIM)), keras.Input((None, KEY_DIM))
    mask = keras.Input((None,), dtype="bool")
    return keras.Model([query, keys, mask], layer(query, keys, mask=mask))


def test_a_saved_model_gives_the_same(layer, tmp_path):
    model = in_a_model(layer)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    for got, expected in zip(loaded([QUERY, KEYS, MASK]), model([QUERY, KEYS, MASK]), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_in_a_model_batch_queries_and_time_are_free(layer):
    model = in_a_model(layer)
    shapes = [tuple(output.shape) for output in model.outputs]
    assert shapes == [(None, None, KEY_DIM), (None, None, None)]
    context, weights = model([QUERY[:1, :1], KEYS[:1, :4], MASK[:1, :4]])
    assert (context.shape, weights.shape) == ((1, 1, KEY_DIM), (1, 1, 4))


def test_gradients_reach_every_weight(layer):
    with tf.GradientTape() as tape:
        context, _ = layer(QUERY, KEYS, mask=tf.constant(MASK))
        total = tf.reduce_sum(context**2)
    for gradient in tape.gradient(total, layer.trainable_weights):
        assert np.abs(gradient).max() > 0


@KINDS
def test_in_bfloat16_the_weights_stay_float32(make):
    layer = make(dtype="mixed_bfloat16")
    context, weights = layer(QUERY, KEYS, mask=tf.constant(MASK))
    assert (context.dtype, weights.dtype) == (tf.bfloat16, tf.float32)
    np.testing.assert_allclose(np.sum(weights, axis=-1), np.ones((BATCH, QUERIES)), rtol=1e-6)


@KINDS
def test_in_bfloat16_a_model_knows_the_types_of_its_outputs(make):
    model = in_a_model(make(dtype="mixed_bfloat16"))
    real = [output.dtype.name for output in model([QUERY, KEYS, MASK])]
    assert [output.dtype for output in model.outputs] == real


def test_dropout_acts_in_training_only():
    layer = AdditiveAttention(UNITS, dropout=0.5)
    context, _ = layer(QUERY, KEYS)
    np.testing.assert_array_equal(layer(QUERY, KEYS, training=False)[0], context)
    assert np.abs(layer(QUERY, KEYS, training=True)[0] - context).max() > 1e-3
