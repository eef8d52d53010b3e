"""Facts about recurrent encoders, against an LSTM written in NumPy from its equations."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.layers.recurrent import (
    CELLS,
    OverGroups,
    kernels,
    make_decoder,
    make_encoder,
    zero_states,
)

BATCH, TIME, DIM, UNITS = 3, 5, 4, 6
RANDOM = np.random.default_rng(0)
VALUES = RANDOM.normal(size=(BATCH, TIME, DIM)).astype("float32")
LENGTHS = [5, 3, 1]
MASK = np.arange(TIME) < np.array(LENGTHS)[:, None]
KINDS = pytest.mark.parametrize(("num_layers", "bidirectional"), [(2, "no"), (2, "concat")])


@pytest.fixture
def make():
    def make(**options) -> keras.Model:
        keras.utils.set_random_seed(1)
        encoder = make_encoder(DIM, UNITS, **options)
        for weight in encoder.weights:  # a bias too must be other than zero to be seen
            weight.assign(RANDOM.normal(size=weight.shape) * 0.5)
        return encoder

    return make


def lstm_with_numpy(sequence, kernel, recurrent, bias):
    """One layer over one sequence (time, dim); gates in the order input, forget, cell, output."""
    hidden = cell = np.zeros(UNITS)
    outputs = []
    for step in sequence.astype("float64"):
        gates = step @ kernel + hidden @ recurrent + bias
        i, f, c, o = np.split(gates, 4)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        cell = f * cell + i * np.tanh(c)
        hidden = o * np.tanh(cell)
        outputs.append(hidden)
    return np.array(outputs)


def stack_with_numpy(encoder, sequence, *, bidirectional):
    """All layers over one sequence without padding -> (time, width), (width,)."""
    weights = [weight.numpy().astype("float64") for weight in encoder.weights]
    while weights:
        forward, weights = lstm_with_numpy(sequence, *weights[:3]), weights[3:]
        outputs, last = forward, forward[-1]
        if bidirectional == "concat":
            backward, weights = lstm_with_numpy(sequence[::-1], *weights[:3])[::-1], weights[3:]
            outputs = np.concatenate([forward, backward], axis=-1)
            last = np.concatenate([forward[-1], backward[0]])
        sequence = outputs
    return outputs, last


@KINDS
def test_each_row_equals_the_equations_over_its_real_steps(make, num_layers, bidirectional):
    encoder = make(num_layers=num_layers, bidirectional=bidirectional)
    encoded, last = encoder([VALUES, MASK])
    for row, length in enumerate(LENGTHS):
        outputs, final = stack_with_numpy(
            encoder, VALUES[row, :length], bidirectional=bidirectional
        )
        np.testing.assert_allclose(encoded[row, :length], outputs, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(last[row], final, rtol=1e-5, atol=1e-6)


@KINDS
def test_padding_is_encoded_as_zeros_and_more_of_it_changes_nothing(
    make, num_layers, bidirectional
):
    encoder = make(num_layers=num_layers, bidirectional=bidirectional)
    longer = np.pad(VALUES, [(0, 0), (0, 4), (0, 0)], constant_values=3.0)
    encoded, last = encoder([VALUES, MASK])
    padded_encoded, padded_last = encoder([longer, np.pad(MASK, [(0, 0), (0, 4)])])
    np.testing.assert_allclose(padded_encoded[:, :TIME], encoded, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(padded_last, last, rtol=1e-5, atol=1e-6)
    assert np.abs(encoded.numpy()[~MASK]).max() == 0.0


@KINDS
def test_a_row_of_padding_gives_zeros(make, num_layers, bidirectional):
    nothing = np.array([[True] * TIME, [False] * TIME, [True] * TIME])
    encoded, last = make(num_layers=num_layers, bidirectional=bidirectional)([VALUES, nothing])
    assert np.abs(encoded[1]).max() == np.abs(last[1]).max() == 0.0


@KINDS
def test_neither_padding_nor_its_values_have_a_gradient(make, num_layers, bidirectional):
    encoder, values = make(num_layers=num_layers, bidirectional=bidirectional), tf.Variable(VALUES)
    with tf.GradientTape() as tape:
        encoded, last = encoder([values, tf.constant(MASK)])
        total = tf.reduce_sum(encoded**2) + tf.reduce_sum(last**2)
    moved = np.any(tape.gradient(total, values).numpy() != 0, axis=-1)
    np.testing.assert_array_equal(moved, MASK)


def test_dropout_acts_in_training_only(make):
    encoder = make(dropout=0.5)
    _, last = encoder([VALUES, MASK])
    np.testing.assert_array_equal(encoder([VALUES, MASK], training=False)[1], last)
    assert np.abs(encoder([VALUES, MASK], training=True)[1] - last).max() > 1e-3


@pytest.mark.parametrize(
    ("bidirectional", "width"), [("no", UNITS), ("sum", UNITS), ("concat", 2 * UNITS)]
)
def test_batch_and_time_are_free(make, bidirectional, width):
    encoder = make(bidirectional=bidirectional)
    assert [tuple(o.shape) for o in encoder.outputs] == [(None, None, width), (None, width)]
    encoded, last = encoder([VALUES[:2, :2], MASK[:2, :2]])
    assert (encoded.shape, last.shape) == ((2, 2, width), (2, width))


def test_an_lstm_has_the_weights_of_its_four_gates(make):
    assert make().count_params() == 4 * UNITS * (DIM + UNITS + 1)


def test_in_a_graph_the_encoder_gives_what_it_gives_outside(make):
    encoder = make(bidirectional="concat")
    signature = [tf.TensorSpec([None, None, DIM]), tf.TensorSpec([None, None], tf.bool)]
    traced = tf.function(lambda values, mask: encoder([values, mask]), input_signature=signature)
    for got, expected in zip(
        traced(tf.constant(VALUES), tf.constant(MASK)), encoder([VALUES, MASK]), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="a GPU has cuDNN")
def test_the_kernel_of_each_layer_is_named():
    fast = make_encoder(DIM, UNITS, bidirectional="concat")
    assert [name.split(",")[0] for name in kernels(fast).values()] == 2 * ["machine code"]
    slow = make_encoder(DIM, UNITS, cell="gru", num_layers=2)
    assert list(kernels(slow).values()) == 2 * ["TensorFlow loop"]


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_makes_an_encoder_that_padding_does_not_touch(make, cell):
    encoder = make(cell=cell, bidirectional="concat")
    encoded, last = encoder([VALUES, MASK])
    assert np.abs(encoded.numpy()[~MASK]).max() == 0.0
    alone = encoder([VALUES[1:2, : LENGTHS[1]], MASK[1:2, : LENGTHS[1]]])
    np.testing.assert_allclose(encoded[1, : LENGTHS[1]], alone[0][0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(last[1], alone[1][0], rtol=1e-4, atol=1e-5)


def test_both_directions_add_up_with_sum(make):
    together = make(bidirectional="concat")
    added = make_encoder(DIM, UNITS, bidirectional="sum")
    added.set_weights(together.get_weights())
    for got, apart in zip(added([VALUES, MASK]), together([VALUES, MASK]), strict=True):
        expected = apart[..., :UNITS] + apart[..., UNITS:]
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_a_residual_layer_adds_its_input(make):
    plain, residual = make(num_layers=2), make_encoder(DIM, UNITS, num_layers=2, residual=True)
    residual.set_weights(plain.get_weights())
    below = make_encoder(DIM, UNITS)
    below.set_weights(plain.get_weights()[:3])
    expected = plain([VALUES, MASK])[0] + below([VALUES, MASK])[0]
    np.testing.assert_allclose(residual([VALUES, MASK])[0], expected, rtol=1e-5, atol=1e-6)


def test_an_unknown_cell_is_named_beside_the_known_ones():
    with pytest.raises(ValueError, match=r"expected a cell out of elman, lstm,.* got 'gur'"):
        make_encoder(DIM, UNITS, cell="gur")


def test_an_unknown_direction_is_named_beside_the_known_ones():
    with pytest.raises(ValueError, match="bidirectional out of no, concat, sum, got 'yes'"):
        make_encoder(DIM, UNITS, bidirectional="yes")


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_a_mask_that_is_not_bool_is_refused(make, dtype):
    encoder = make()
    with pytest.raises(ValueError, match=rf"'mask'.*expected dtype=bool, found dtype={dtype}"):
        encoder([VALUES, MASK.astype(dtype)])
    with pytest.raises(ValueError, match="expected dtype=bool"):
        encoder([keras.Input((None, DIM)), keras.Input((None,), dtype=dtype)])


def test_two_encoders_without_names_go_into_one_model():
    embedded, mask = keras.Input((None, DIM)), keras.Input((None,), dtype="bool")
    lasts = [make_encoder(DIM, UNITS)([embedded, mask])[1] for _ in range(2)]
    assert len(keras.Model([embedded, mask], lasts).weights) == 6


# Decoders


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_one_step_at_a_time_gives_the_whole_pass(cell, training):
    decoder = make_decoder(DIM, UNITS, cell=cell, residual=True, num_layers=2)
    values, everything = tf.constant(VALUES), tf.ones((BATCH, TIME), tf.bool)
    states = zero_states(decoder, BATCH)
    whole, *last = decoder([values, everything, *states], training=training)
    for t in range(TIME):
        decoded, *states = decoder([values[:, t : t + 1], everything[:, :1], *states])
        np.testing.assert_allclose(decoded[:, 0], whole[:, t], rtol=1e-5, atol=1e-5)
    for state, expected in zip(states, last, strict=True):
        np.testing.assert_allclose(state, expected, rtol=1e-5, atol=1e-5)


def gradients_in_chunks(decoder, chunk: int, *, cut: bool):
    """Gradients of the sum of squares over chunks whose states are passed on."""
    states, total = zero_states(decoder, BATCH), 0.0
    with tf.GradientTape() as tape:
        for start in range(0, TIME, chunk):
            values = tf.constant(VALUES[:, start : start + chunk])
            if cut:
                states = [tf.stop_gradient(state) for state in states]
            mask = tf.ones(values.shape[:2], tf.bool)
            decoded, *states = decoder([values, mask, *states], training=True)
            total += tf.reduce_sum(decoded**2)
    return tape.gradient(total, decoder.trainable_variables)


def test_truncated_back_propagation_is_the_full_one_when_nothing_is_cut_off():
    decoder = make_decoder(DIM, UNITS)
    full = gradients_in_chunks(decoder, TIME, cut=False)
    for got, expected in zip(gradients_in_chunks(decoder, TIME + 3, cut=True), full, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    for got, expected in zip(gradients_in_chunks(decoder, 2, cut=False), full, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    truncated = gradients_in_chunks(decoder, 2, cut=True)
    assert max(np.abs(a - b).max() for a, b in zip(truncated, full, strict=True)) > 1e-3


# Groups of sequences


GROUPS = RANDOM.normal(size=(2, 3, TIME, DIM)).astype("float32")
GROUP_MASK = np.arange(TIME) < np.array([[5, 2, 0], [1, 4, 3]])[..., None]


def test_a_group_gives_what_its_sequences_give_alone(make):
    encoder = make(bidirectional="concat")
    lasts = OverGroups(encoder)(GROUPS, GROUP_MASK)
    for image, group in np.ndindex(2, 3):
        alone = encoder([GROUPS[image, group][None], GROUP_MASK[image, group][None]])[1][0]
        np.testing.assert_allclose(lasts[image, group], alone, rtol=1e-5, atol=1e-6)


def test_a_sequence_of_padding_in_a_group_gives_zeros(make):
    lasts = OverGroups(make())(GROUPS, GROUP_MASK)
    assert np.abs(lasts[0, 2]).max() == 0.0


def in_a_model(encoder) -> keras.Model:
    values = keras.Input((None, None, DIM))
    mask = keras.Input((None, None), dtype="bool")
    return keras.Model([values, mask], OverGroups(encoder)(values, mask))


def test_all_sequences_of_a_group_share_the_weights(make):
    encoder = make()
    assert in_a_model(encoder).count_params() == encoder.count_params()


def test_a_saved_model_with_groups_gives_the_same(make, tmp_path):
    model = in_a_model(make(num_layers=2, dropout=0.3))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded([GROUPS, GROUP_MASK]), model([GROUPS, GROUP_MASK]))


def test_batch_group_and_time_are_free(make):
    model = in_a_model(make(bidirectional="concat"))
    assert tuple(model.output.shape) == (None, None, 2 * UNITS)
    assert model([GROUPS[:1, :2, :4], GROUP_MASK[:1, :2, :4]]).shape == (1, 2, 2 * UNITS)


def test_dropout_inside_a_group_acts_in_training_only(make):
    layer = OverGroups(make(dropout=0.5))
    lasts = layer(GROUPS, GROUP_MASK)
    np.testing.assert_array_equal(layer(GROUPS, GROUP_MASK, training=False), lasts)
    assert np.abs(layer(GROUPS, GROUP_MASK, training=True) - lasts).max() > 1e-3


def test_frozen_encoders_stay_frozen_in_a_group(make):
    encoder = make()
    encoder.trainable = False
    assert in_a_model(encoder).trainable_weights == []


def test_words_become_sentences_become_a_document(make):
    """Two levels, (batch, sentences, words, dim) -> (batch, width), with padding on both."""
    words, sentences = make(bidirectional="concat"), make_encoder(2 * UNITS, 7)

    def read(values, mask):
        real = tf.constant(mask.any(axis=-1))
        return sentences([OverGroups(words)(values, mask), real])[1]

    document = read(GROUPS, GROUP_MASK)
    assert document.shape == (2, 7)
    values = np.pad(GROUPS, [(0, 0), (0, 2), (0, 3), (0, 0)], constant_values=2.0)
    mask = np.pad(GROUP_MASK, [(0, 0), (0, 2), (0, 3)])
    np.testing.assert_allclose(read(values, mask), document, rtol=1e-5, atol=1e-6)
