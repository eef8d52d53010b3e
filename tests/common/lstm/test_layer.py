"""Facts about the fast LSTM: what Keras' layer gives, it gives, and its gradients are true."""

import functools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.export import saved_model
from common.lstm import layer as fast_lstm
from common.lstm import loops
from common.lstm.layer import LSTM

BATCH, TIME, DIM = 7, 9, 3
RANDOM = np.random.default_rng(0)
VALUES = RANDOM.normal(size=(BATCH, TIME, DIM)).astype("float32")
LENGTHS = np.array([9, 3, 0, 1, 5, 8, 2])
MASKS = {
    "none": None,
    "right": np.arange(TIME) < LENGTHS[:, None],
    "left": np.arange(TIME) >= TIME - LENGTHS[:, None],
    "holes": RANDOM.random((BATCH, TIME)) < 0.5,
    "nothing": np.zeros((BATCH, TIME), bool),
}


def make_pair(units, direction, **options):
    """The same layer of both kinds with the same random weights."""
    layers = []
    for kind in (fast_lstm, keras.layers):
        returns = {"return_sequences": True, "return_state": True, "zero_output_for_mask": True}
        layer = kind.LSTM(units, **returns, **options, go_backwards=direction == "backward")
        if direction in ("concat", "sum"):
            layer = kind.Bidirectional(layer, merge_mode=direction)
        elif direction == "wrapped":
            layer = keras.layers.Bidirectional(layer)
        layer(VALUES)
        layers.append(layer)
    random = np.random.default_rng(1)
    scale = 1 / np.sqrt(units)  # larger ones make chaos of rounding errors
    weights = [random.normal(size=weight.shape) * scale for weight in layers[0].get_weights()]
    for layer in layers:
        layer.set_weights(weights)
    return layers


def outputs_and_gradients(layer, values, mask, states, *, training=True):
    """All outputs, then the gradients of a random weighted sum of them at everything."""
    watched = [tf.Variable(values), *(tf.Variable(state) for state in states)]
    with tf.GradientTape() as tape:
        outputs = layer(
            watched[0],
            mask=None if mask is None else tf.constant(mask),
            initial_state=watched[1:] or None,
            training=training,
        )
        random = np.random.default_rng(2)
        weights = [random.normal(size=output.shape).astype("float32") for output in outputs]
        total = tf.add_n([tf.reduce_sum(o * w) for o, w in zip(outputs, weights, strict=True)])
    gradients = tape.gradient(total, [*watched, *layer.trainable_variables])
    return [*outputs, *map(tf.convert_to_tensor, gradients)]


@pytest.mark.parametrize(
    ("units", "direction", "mask"),
    [  # units: less than a vector, one, many and a part
        *((5, "forward", mask) for mask in MASKS),
        *((85, "backward", mask) for mask in MASKS),
        *((85, "concat", mask) for mask in MASKS),
        (16, "concat", "right"),
        (5, "sum", "holes"),
        (85, "wrapped", "right"),
    ],
)
def test_outputs_states_and_gradients_are_those_of_keras(units, direction, mask):
    num_states = 2 if direction in ("forward", "backward") else 4
    states = RANDOM.normal(size=(num_states, BATCH, units)).astype("float32")
    ours, theirs = make_pair(units, direction)
    pairs = zip(
        outputs_and_gradients(ours, VALUES, MASKS[mask], states),
        outputs_and_gradients(theirs, VALUES, MASKS[mask], states),
        strict=True,
    )
    for got, expected in pairs:
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("direction", "batch", "mask", "in_machine_code"),
    [
        *(("backward", 2, mask, False) for mask in MASKS),
        *(("backward", BATCH, mask, False) for mask in ("none", "holes")),
        *(("concat", BATCH, mask, False) for mask in MASKS),
        ("forward", BATCH, "right", False),
        ("sum", 2, "holes", False),
        *(("concat", BATCH, mask, True) for mask in MASKS),
        ("backward", 2, "left", True),
        ("sum", BATCH, "holes", True),
    ],
)
def test_outside_training_too(direction, batch, mask, in_machine_code, monkeypatch):
    """In the operation for a few sequences, in the loops for more, and in machine code."""
    monkeypatch.setattr(loops, "MOST_SEQUENCES", 2)
    ours, theirs = make_pair(5, direction)
    states = RANDOM.normal(size=(4 if direction in ("concat", "sum") else 2, batch, 5)).astype(
        "float32"
    )
    mask = None if MASKS[mask] is None else MASKS[mask][:batch]
    with fast_lstm.machine_code(in_machine_code):
        got = outputs_and_gradients(ours, VALUES[:batch], mask, states, training=False)
    expected = outputs_and_gradients(theirs, VALUES[:batch], mask, states, training=False)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("in_machine_code", [True, False])
@pytest.mark.parametrize(("batch", "time"), [(0, 3), (2, 0), (20, 0), (2, 1), (20, 1)])
def test_no_sequence_and_no_step_give_none(in_machine_code, batch, time):
    layer = fast_lstm.Bidirectional(LSTM(5, return_sequences=True))
    call = tf.function(layer, input_signature=[tf.TensorSpec([None, None, DIM])])
    with fast_lstm.machine_code(in_machine_code):
        assert call(np.zeros([batch, time, DIM], "float32")).shape == (batch, time, 10)


def test_machine_code_is_never_saved(tmp_path):
    """Else another process would load a call of this one's memory."""
    module = tf.Module()
    module.layer = LSTM(5, return_sequences=True)
    module.layer.build(VALUES.shape)
    signature = [tf.TensorSpec([None, None, DIM])]
    call, saved_inside = (
        tf.function(functools.partial(module.layer, mask=None), input_signature=signature)
        for _ in range(2)
    )
    with fast_lstm.machine_code():
        call(VALUES)
        with pytest.raises(AssertionError, match="untracked"):
            tf.saved_model.save(module, str(tmp_path / "inside"), signatures=saved_inside)
    with pytest.raises(AssertionError, match="untracked"):
        graph = call.get_concrete_function()
        tf.saved_model.save(module, str(tmp_path / "graph"), signatures=graph)
    tf.saved_model.save(module, str(tmp_path / "outside"), signatures=call)
    assert saved_model.unportable_operations(tmp_path / "outside") == set()


@pytest.mark.parametrize("training", [True, False])
def test_a_batch_of_no_sequence_has_an_output_of_none(training):
    """As the share of a worker may be."""
    layer, _ = make_pair(5, "concat")
    call = tf.function(lambda values, mask: layer(values, mask=mask, training=training))
    made = call(VALUES[:0], np.ones(VALUES.shape[:2], bool)[:0])
    first = made[0] if isinstance(made, (list, tuple)) else made
    assert first.shape[0] == 0 and first.shape[-1] == 10


def test_gradients_are_the_slopes_of_the_equations():
    """Against differences of the equations in NumPy, in float64."""
    layer, _ = make_pair(4, "forward")
    arrays = [VALUES[:1, :4], *(weight.numpy() for weight in layer.weights)]

    def total(values, kernel, recurrent, bias):
        hidden = cell = np.zeros(4)
        sums = 0.0
        for step in values[0]:
            i, f, c, o = np.split(step @ kernel + hidden @ recurrent + bias, 4)
            i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
            cell = f * cell + i * np.tanh(c)
            hidden = o * np.tanh(cell)
            sums += (hidden**2).sum()
        return sums

    values = tf.Variable(arrays[0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(values, training=True)[0] ** 2)
    got = tape.gradient(loss, [values, *layer.trainable_variables])
    arrays = [array.astype("float64") for array in arrays]
    np.testing.assert_allclose(loss, total(*arrays), rtol=1e-5)
    for number, array in enumerate(arrays):
        for place in np.ndindex(array.shape):
            slopes = []
            for step in (1e-5, -1e-5):
                moved = [other.copy() for other in arrays]
                moved[number][place] += step
                slopes.append(total(*moved) / 2e-5)
            np.testing.assert_allclose(
                got[number].numpy()[place], slopes[0] - slopes[1], rtol=1e-3, atol=1e-5
            )


def test_a_row_gives_bit_for_bit_the_same_in_any_batch():
    layer, _ = make_pair(21, "forward")
    mask = MASKS["right"]
    together = layer(VALUES, mask=tf.constant(mask), training=True)[0].numpy()
    for row in range(BATCH):
        alone = layer(VALUES[row : row + 1], mask=tf.constant(mask[row : row + 1]), training=True)
        np.testing.assert_array_equal(alone[0][0], together[row])


@pytest.mark.parametrize("in_machine_code", [True, False])
def test_a_long_sequence_is_read_in_parts_without_a_seam(in_machine_code):
    """More steps than the machine code projects at a time, and a number that fills no tile."""
    ours, theirs = make_pair(512, "concat")
    values = RANDOM.normal(size=(5, 40, DIM)).astype("float32")
    mask = tf.constant(np.arange(40) < np.array([40, 33, 0, 7, 39])[:, None])
    with fast_lstm.machine_code(in_machine_code):
        got = ours(values, mask=mask, training=False)
    for one, other in zip(got, theirs(values, mask=mask), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("training", [True, False])
def test_more_padding_changes_nothing(training):
    layer, _ = make_pair(16, "forward")
    mask = MASKS["right"]
    longer = np.pad(VALUES, [(0, 0), (0, 4), (0, 0)], constant_values=np.nan)
    got = layer(longer, mask=tf.constant(np.pad(mask, [(0, 0), (0, 4)])), training=training)
    expected = layer(VALUES, mask=tf.constant(mask), training=training)
    np.testing.assert_array_equal(got[0][:, :TIME], expected[0])
    assert np.abs(got[0][:, TIME:]).max() == 0.0


@pytest.mark.parametrize("value", [-1e30, -100.0, 100.0, 1e30])
def test_large_sums_saturate_the_gates(value):
    layer, _ = make_pair(16, "forward")
    layer.set_weights([weight * 0 + value for weight in layer.get_weights()])
    ones = np.abs(VALUES)
    got = layer(ones, training=True)[0]
    np.testing.assert_allclose(got, layer(ones)[0], atol=1e-6)


def test_nan_goes_through_as_in_keras_and_into_no_other_row():
    ours, theirs = make_pair(16, "forward")
    values = VALUES.copy()
    values[3, 4] = np.nan
    got, expected = (layer(values, training=True)[0].numpy() for layer in (ours, theirs))
    assert np.isnan(got).sum() == 16 * (TIME - 4)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_every_row_count_takes_the_right_tiles():
    """1 to 14 rows of different lengths for two cores: whole tiles and every kind of rest."""
    ours, theirs = make_pair(80, "forward")
    for rows in range(1, 15):
        values = RANDOM.normal(size=(rows, 3, DIM)).astype("float32")
        mask = np.arange(3) < RANDOM.integers(0, 4, size=rows)[:, None]
        pairs = zip(
            outputs_and_gradients(ours, values, mask, []),
            outputs_and_gradients(theirs, values, mask, []),
            strict=True,
        )
        for got, expected in pairs:
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=2e-5)


def test_input_dropout_acts_in_training_only():
    layer = LSTM(16, dropout=0.5, return_sequences=True)
    layer(VALUES)
    whole, dropped = (layer(VALUES, training=flag) for flag in (False, True))
    assert np.abs(whole - dropped).max() > 1e-3
    np.testing.assert_array_equal(layer(VALUES), whole)


@pytest.mark.parametrize(
    "options",
    [{"recurrent_dropout": 0.1}, {"activation": "relu"}, {"dtype": "float64"}, {"use_bias": True}],
)
def test_options_without_machine_code_train_as_in_keras(options):
    layer = LSTM(4, **options)
    assert layer.is_fast(training=True) == (options == {"use_bias": True})
    assert layer.computed_by.startswith("machine code" if layer.is_fast(True) else "Keras")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(VALUES, training=True))
    assert all(np.abs(g).max() > 0 for g in tape.gradient(loss, layer.trainable_variables))


def test_keras_goes_wrong_when_unrolled_and_so_we_refuse():
    """Why LSTM refuses `unroll`; when this test fails, Keras is fixed and the rule can go."""
    looped, unrolled = (
        keras.layers.Bidirectional(
            keras.layers.LSTM(4, return_sequences=True, zero_output_for_mask=True, unroll=unroll)
        )
        for unroll in (False, True)
    )
    mask = tf.constant(MASKS["right"])
    expected = looped(VALUES, mask=mask)
    unrolled(VALUES, mask=mask)
    unrolled.set_weights(looped.get_weights())
    assert np.abs(unrolled(VALUES, mask=mask) - expected).max() > 0.01
    with pytest.raises(ValueError, match="unroll"):
        LSTM(4, unroll=True)


def test_without_a_bias():
    ours, theirs = make_pair(16, "forward", use_bias=False)
    for got, expected in zip(ours(VALUES, training=True), theirs(VALUES), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def both_ways(units, *, dtype, **options):
    """Both directions in one policy."""
    return fast_lstm.Bidirectional(LSTM(units, dtype=dtype, **options), dtype=dtype)


@pytest.mark.parametrize("kind", [LSTM, both_ways])
def test_in_bfloat16_the_outputs_are_near(kind):
    outputs = []
    for dtype in ("float32", "mixed_bfloat16"):
        layer = kind(16, return_sequences=True, dtype=dtype)
        layer(VALUES)
        random = np.random.default_rng(1)
        layer.set_weights([random.normal(size=w.shape) / 4 for w in layer.get_weights()])
        outputs.append(layer(VALUES, training=True))
    assert outputs[1].dtype == "bfloat16"
    np.testing.assert_allclose(tf.cast(outputs[1], "float32"), outputs[0], atol=2e-2)
    assert np.abs(tf.cast(outputs[1], "float32") - outputs[0]).max() > 1e-4


def test_in_bfloat16_the_state_is_float32():
    """Small additions to a cell: in bfloat16 it would stand still at 0.5, where 1/512 is lost."""
    layer = LSTM(1, dtype="mixed_bfloat16")
    ones = np.ones([1, 600, 1], "float32")
    layer.build(ones.shape)
    bias = [40.0, 40.0, np.arctanh(1 / 512), 40.0]  # input, forget and output gate open
    layer.set_weights([np.zeros([1, 4]), np.zeros([1, 4]), np.array(bias)])
    hidden = layer(ones, training=True)
    np.testing.assert_allclose(tf.cast(hidden, "float32"), np.tanh(600 / 512), rtol=1e-2)


def test_fit_learns_and_the_saved_model_holds_operations_of_tensorflow_alone(tmp_path):
    inputs = keras.Input((None, DIM))
    encoded = fast_lstm.Bidirectional(LSTM(8, return_sequences=True))(inputs)
    outputs = keras.layers.Dense(1)(keras.layers.GlobalAveragePooling1D()(encoded))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(0.03), "mse")
    targets = VALUES.sum(axis=(1, 2), keepdims=True)[:, 0]
    history = model.fit(VALUES, targets, epochs=30, verbose=0)
    assert history.history["loss"][-1] < 0.7 * history.history["loss"][0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(again(VALUES), model(VALUES))
    model.export(tmp_path / "exported", verbose=False)
    assert saved_model.unportable_operations(tmp_path / "exported") == set()
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    ones = np.ones([2, 4, DIM], "float32")
    np.testing.assert_allclose(exported.serve(ones), model(ones), rtol=1e-5)


def test_stateful_chunks_give_what_the_whole_sequence_gives():
    whole, _ = make_pair(16, "forward")
    inputs = keras.Input(batch_shape=(BATCH, None, DIM))
    parts = LSTM(16, return_sequences=True, stateful=True)
    model = keras.Model(inputs, parts(inputs))
    model.set_weights(whole.get_weights())
    chunks = [model(VALUES[:, start : start + 3], training=True) for start in (0, 3, 6)]
    expected = whole(VALUES, training=True)[0]
    np.testing.assert_allclose(tf.concat(chunks, axis=1), expected, rtol=1e-6, atol=1e-6)


BOTH_PASSES = """
import numpy as np
from common.lstm import kernel
random = np.random.default_rng(3)
draw = lambda *shape: random.normal(size=shape).astype("float32") * 0.3
lengths = np.array([4, 0, 2, 1, 4])
places = np.cumsum(lengths) - lengths, lengths
weights = [draw(*size) for size in 2 * ((3, 320), (80, 320), (320,))]
states, upstream = (draw(5, 160), draw(5, 160)), (draw(11, 160), draw(5, 160), draw(5, 160))
options = {"reverses": [False, True]}
forward = kernel.forward(draw(11, 3), *places, *states, *weights, **options)
results = [
    *forward,
    *kernel.backward(*places, *states, *forward[:3], *upstream, *weights[1::3], **options),
]
"""
IN_SHORT_VECTORS = f"""
import sys
import llvmlite.binding as llvm
features = llvm.get_host_cpu_features()
features.update({{name: False for name in features if "avx512" in name or "amx" in name}})
llvm.get_host_cpu_features = lambda: features
{BOTH_PASSES}
assert kernel.LANES == 8
np.savez(sys.argv[1], *results)
"""


def test_short_vectors_give_the_same_as_long_ones(tmp_path):
    """The code for machines without AVX-512, in a process that is told to be one."""
    path = tmp_path / "short.npz"
    command = [sys.executable, "-c", IN_SHORT_VECTORS, path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    here: dict = {}
    exec(BOTH_PASSES, here)
    with np.load(path) as short:
        for name, expected in zip(short.files, here["results"], strict=True):
            np.testing.assert_allclose(short[name], expected, rtol=1e-4, atol=1e-6)


WITHOUT_NUMBA = """
import sys
sys.modules.update(numba=None, llvmlite=None)
import logging
import keras
import numpy as np
import tensorflow as tf
from common.lstm.layer import LSTM, Bidirectional

lines = []
logging.getLogger("cellstate").addFilter(lambda record: lines.append(record.getMessage()))
values = np.random.default_rng(1).normal(size=(3, 6, 2)).astype("float32")
mask = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0], [1, 0, 1, 1, 0, 1]], bool)
options = {"return_sequences": True, "zero_output_for_mask": True}
pairs = [
    (LSTM(5, **options), keras.layers.LSTM(5, **options)),
    (
        Bidirectional(LSTM(5, **options)),
        keras.layers.Bidirectional(keras.layers.LSTM(5, **options)),
    ),
]
for ours, theirs in pairs:
    results = []
    for layer in (ours, theirs):
        layer.build(values.shape)
        layer.set_weights(ours.get_weights())
        with tf.GradientTape() as tape:
            outputs = layer(values, mask=tf.constant(mask), training=True)
            loss = tf.reduce_sum(outputs**2)
        results.append([outputs, *tape.gradient(loss, layer.trainable_variables)])
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)
    assert not np.any(results[0][0].numpy()[~mask])
    outside = ours(values, mask=tf.constant(mask))
    np.testing.assert_allclose(outside, results[1][0], rtol=1e-5, atol=1e-6)
print(pairs[0][0].computed_by)
print(*lines, sep=chr(10))
"""


def test_without_numba_training_runs_the_layer_of_keras_and_the_log_says_so_once():
    done = subprocess.run([sys.executable, "-c", WITHOUT_NUMBA], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kernel, *lines = done.stdout.splitlines()
    assert kernel == "Keras, as numba is not installed"
    assert len(lines) == 1 and "expected the packages numba and llvmlite" in lines[0]
