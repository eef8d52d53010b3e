"""The attention decoder: the whole target and step by step, NumPy, padding, a beam's rows."""

import numpy as np
import pytest
import tensorflow as tf

from common.layers.attention_decoder import AttentionDecoder

BATCH, TIME, MEMORY_TIME, DIM, MEMORY_DIM, UNITS = 3, 5, 4, 6, 10, 8
LENGTHS = [4, 1, 3]  # of the memories


def random(*shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(sum(shape)).normal(size=shape).astype("float32"))


@pytest.fixture(params=["multiplicative", "additive", "none"])
def decoder(request) -> AttentionDecoder:
    layer = AttentionDecoder(UNITS, output_dim=7, num_layers=2, attention=request.param)
    layer.build((None, None, DIM), (None, None, MEMORY_DIM))
    for weight in layer.weights:
        weight.assign(random(*weight.shape) / 2)
    return layer


MEMORY, MASK = random(BATCH, MEMORY_TIME, MEMORY_DIM), tf.sequence_mask(LENGTHS, MEMORY_TIME)
EMBEDDED = random(BATCH, TIME, DIM)
STATES = [random(BATCH, UNITS) + n for n in range(4)]


def test_the_whole_target_is_the_steps_one_after_the_other(decoder):
    remembered = decoder.remember(MEMORY, MASK)
    whole, ends, attention = decoder(EMBEDDED, STATES, remembered)
    states = STATES
    for step in range(TIME):
        features, states, weights = decoder(EMBEDDED[:, step : step + 1], states, remembered)
        np.testing.assert_allclose(features[:, 0], whole[:, step], atol=1e-5)
        np.testing.assert_allclose(weights[:, 0], attention[:, step], atol=1e-5)
    for state, end in zip(states, ends, strict=True):
        np.testing.assert_allclose(state, end, atol=1e-5)


def test_rows_of_a_beam_share_the_memory_of_their_example(decoder):
    twice = [tf.repeat(part, 2, axis=0) for part in (EMBEDDED, *STATES)]
    apart = decoder(
        twice[0], twice[1:], decoder.remember(*(tf.repeat(p, 2, axis=0) for p in (MEMORY, MASK)))
    )
    together = decoder(twice[0], twice[1:], decoder.remember(MEMORY, MASK))
    for one, other in zip(tf.nest.flatten(apart), tf.nest.flatten(together), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_what_stands_in_padding_changes_nothing(decoder):
    spoilt = tf.where(MASK[:, :, None], MEMORY, 1e3)
    lengths = tf.constant([5, 2, 0])
    real = tf.sequence_mask(lengths, TIME)
    noise = tf.where(real[:, :, None], EMBEDDED, -1e3)
    usual = decoder(EMBEDDED, STATES, decoder.remember(MEMORY, MASK), mask=real)
    other = decoder(noise, STATES, decoder.remember(spoilt, MASK), mask=real)
    for one, two in zip(usual[1], other[1], strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
    for one, two in ((usual[0], other[0]), (usual[2], other[2])):
        np.testing.assert_allclose(one[real], two[real], atol=1e-5)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_it_is_what_the_equations_say():
    """One row through both layers, by the equations of the class, with multiplicative attention."""
    layer = AttentionDecoder(UNITS, output_dim=7, num_layers=2)
    layer.build((None, None, DIM), (None, None, MEMORY_DIM))
    weights = {weight.path.split("/", 1)[1]: random(*weight.shape) / 2 for weight in layer.weights}
    for weight in layer.weights:
        weight.assign(weights[weight.path.split("/", 1)[1]])
    features, _, attention = layer(EMBEDDED, STATES, layer.remember(MEMORY, MASK))

    by_name = {path: value.numpy() for path, value in weights.items()}
    kernels = {
        n: [next(v for p, v in by_name.items() if f"lstm_{n}" in p and p.endswith(f"/{end}"))
            for end in ("kernel", "recurrent_kernel", "bias")]
        for n in range(2)
    }  # fmt: skip
    (keys,) = (v for p, v in by_name.items() if "attention" in p)
    join = [
        next(v for p, v in by_name.items() if p.endswith(f"join/{e}")) for e in ("kernel", "bias")
    ]
    row, length = 2, LENGTHS[2]
    memory = MEMORY.numpy()[row, :length]
    states = [state.numpy()[row] for state in STATES]

    def lstm(n, x):
        kernel, recurrent, bias = kernels[n]
        i, f, g, o = np.split(x @ kernel + states[2 * n] @ recurrent + bias, 4)
        cell = sigmoid(f) * states[2 * n + 1] + sigmoid(i) * np.tanh(g)
        states[2 * n : 2 * n + 2] = sigmoid(o) * np.tanh(cell), cell
        return states[2 * n]

    for step in range(TIME):
        below = lstm(0, EMBEDDED.numpy()[row, step])
        scores = memory @ keys @ below / np.sqrt(UNITS)
        shares = np.exp(scores) / np.exp(scores).sum()
        context = shares @ memory
        above = below + lstm(1, np.concatenate([below, context]))
        expected = np.tanh(np.concatenate([above, context]) @ join[0] + join[1])
        np.testing.assert_allclose(features[row, step], expected, atol=1e-5)
        np.testing.assert_allclose(attention[row, step, :length], shares, atol=1e-5)
        assert not attention[row, step, length:].numpy().any()
