"""Facts about every cell, against its equations in NumPy and against Keras' own layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.layers.cells import ElmanCell, GRUCell, LSTMCell
from common.layers.recurrent import Recurrent

BATCH, TIME, DIM, UNITS = 4, 6, 3, 5
VALUES = np.random.default_rng(0).normal(size=(BATCH, TIME, DIM))
LSTM_OPTIONS = {
    "lstm": {},
    "lstm_1997": {"forget_gate": False},
    "no input gate": {"input_gate": False},
    "no output gate": {"output_gate": False},
    "coupled": {"coupled": True},
    "no input activation": {"input_activation": False},
    "no output activation": {"output_activation": False},
    "peephole": {"peepholes": True},
    "full gate recurrence": {"full_gate_recurrence": True},
    "layer norm": {"layer_norm": True},
    "vanilla of the Odyssey": {"peepholes": True, "full_gate_recurrence": True},
    "everything": {"coupled": True, "peepholes": True, "layer_norm": True, "output_gate": False},
}
MAKERS = {
    "elman": lambda **o: ElmanCell(UNITS, **o),
    "gru": lambda **o: GRUCell(UNITS, reset_after=False, **o),
    "gru reset after": lambda **o: GRUCell(UNITS, **o),
    **{
        name: lambda options=options, **o: LSTMCell(UNITS, **options, **o)
        for name, options in LSTM_OPTIONS.items()
    },
}
MASKS = {
    "right": np.arange(TIME) < np.array([6, 2, 0, 4])[:, None],
    "left": np.arange(TIME) >= np.array([6, 2, 0, 4])[:, None],
    "holes": np.random.default_rng(3).random((BATCH, TIME)) < 0.5,
}


def make_layer(name, dtype="float64", **options):
    """A layer around the cell, with random weights."""
    layer = Recurrent(
        MAKERS[name](dtype=dtype), dtype=dtype, return_sequences=True, return_state=True, **options
    )
    layer(VALUES.astype(dtype))
    random = np.random.default_rng(1)
    layer.set_weights([random.normal(size=w.shape) * 0.7 for w in layer.get_weights()])
    return layer


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def layer_norm(values, gain, shift=0.0):
    mean, variance = values.mean(-1, keepdims=True), values.var(-1, keepdims=True)
    return (values - mean) / np.sqrt(variance + 1e-5) * gain + shift


def elman(weights, sequence):
    hidden, outputs = np.zeros(UNITS), []
    for step in sequence:
        hidden = np.tanh(
            step @ weights["kernel"] + hidden @ weights["recurrent_kernel"] + weights["bias"]
        )
        outputs.append(hidden)
    return np.array(outputs)


def gru(weights, sequence, *, reset_after):
    kernels = np.split(weights["kernel"], 3, axis=1)
    recurrents = np.split(weights["recurrent_kernel"], 3, axis=1)
    biases = np.split(np.atleast_2d(weights["bias"]), 3, axis=1)
    hidden, outputs = np.zeros(UNITS), []
    for step in sequence:
        z, r = (
            sigmoid(step @ kernels[n] + hidden @ recurrents[n] + biases[n].sum(0)) for n in (0, 1)
        )
        if reset_after:
            inner = r * (hidden @ recurrents[2] + biases[2][1])
        else:
            inner = (r * hidden) @ recurrents[2]
        candidate = np.tanh(step @ kernels[2] + biases[2][0] + inner)
        hidden = z * hidden + (1 - z) * candidate
        outputs.append(hidden)
    return np.array(outputs)


def lstm(weights, sequence, **options):
    """The equations of the class docstring, gate by gate."""
    present = {
        "i": options.get("input_gate", True),
        "f": options.get("forget_gate", True) and not options.get("coupled"),
        "g": True,
        "o": options.get("output_gate", True),
    }
    blocks = [name for name in "ifgo" if present[name]]
    gates = [name for name in "ifo" if present[name]]
    squash = np.tanh if options.get("input_activation", True) else lambda x: x
    squash_output = np.tanh if options.get("output_activation", True) else lambda x: x
    peephole = dict(zip(gates, weights.get("peephole_kernel", np.zeros((3, UNITS))), strict=False))
    hidden = cell = np.zeros(UNITS)
    last_gates, outputs = np.zeros(len(gates) * UNITS), []
    for step in sequence:
        of_input, recurrent = step @ weights["kernel"], hidden @ weights["recurrent_kernel"]
        if options.get("layer_norm"):
            of_input = layer_norm(of_input, weights["norm_inputs/gamma"])
            recurrent = layer_norm(recurrent, weights["norm_recurrent/gamma"])
        total = of_input + recurrent + weights["bias"]
        sums = dict(zip(blocks, np.split(total, len(blocks)), strict=True))
        if options.get("full_gate_recurrence"):
            more = np.split(last_gates @ weights["gate_kernel"], len(gates))
            for name, share in zip(gates, more, strict=True):
                sums[name] = sums[name] + share
        value = {
            name: sigmoid(sums[name] + peephole[name] * cell) if present[name] else np.ones(UNITS)
            for name in "if"
        }
        if options.get("coupled"):
            value["f"] = 1 - value["i"]
        cell = value["f"] * cell + value["i"] * squash(sums["g"])
        value["o"] = sigmoid(sums["o"] + peephole["o"] * cell) if present["o"] else np.ones(UNITS)
        normalised = cell
        if options.get("layer_norm"):
            normalised = layer_norm(cell, weights["norm_cell/gamma"], weights["norm_cell/beta"])
        hidden = value["o"] * squash_output(normalised)
        last_gates = np.concatenate([value[name] for name in gates])
        outputs.append(hidden)
    return np.array(outputs)


def with_numpy(name, layer, sequence):
    weights = {}
    for weight in layer.weights:
        path = weight.path.split("/")
        key = "/".join(path[-2:]) if path[-2].startswith("norm_") else path[-1]
        weights[key] = weight.numpy()
    if name == "elman":
        return elman(weights, sequence)
    if name.startswith("gru"):
        return gru(weights, sequence, reset_after="after" in name)
    return lstm(weights, sequence, **LSTM_OPTIONS[name])


@pytest.mark.parametrize("name", MAKERS)
def test_outputs_are_those_of_the_equations(name):
    layer = make_layer(name)
    outputs = layer(VALUES)[0]
    for row in range(BATCH):
        expected = with_numpy(name, layer, VALUES[row])
        np.testing.assert_allclose(outputs[row], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", MAKERS)
def test_gradients_are_the_slopes_of_the_outputs(name):
    layer = make_layer(name)
    values = tf.constant(VALUES[:2, :3])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(values)[0] ** 2)
    weights = layer.trainable_weights
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    random = np.random.default_rng(5)
    starts = [weight.numpy() for weight in weights]
    directions = [random.normal(size=weight.shape) for weight in weights]
    ends = []
    for step in (1e-6, -1e-6):
        for weight, start, direction in zip(weights, starts, directions, strict=True):
            weight.assign(start + step * direction)
        ends.append(float(tf.reduce_sum(layer(values)[0] ** 2)))
    pairs = zip(gradients, directions, strict=True)
    slope = sum((gradient.numpy() * direction).sum() for gradient, direction in pairs)
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "mask", "backwards"),
    [
        *(("lstm", mask, backwards) for mask in MASKS for backwards in (False, True)),
        *((name, "holes", False) for name in ("elman", "gru reset after", "full gate recurrence")),
    ],
)
def test_left_out_steps_do_not_exist(name, mask, backwards):
    """The loop is the same for all cells: each number of states once."""
    layer = make_layer(name, go_backwards=backwards)
    mask = MASKS[mask]
    outputs, *states = layer(VALUES, mask=tf.constant(mask))
    outputs = outputs.numpy()[:, ::-1] if backwards else outputs.numpy()
    assert np.abs(outputs[~mask]).max() == 0.0
    for row in range(BATCH):
        real = VALUES[row, mask[row]]
        if not len(real):
            assert all(np.abs(state[row]).max() == 0.0 for state in states)
            continue
        alone = layer(real[None])
        expected = alone[0].numpy()[0, ::-1] if backwards else alone[0].numpy()[0]
        np.testing.assert_allclose(outputs[row, mask[row]], expected, rtol=1e-10, atol=1e-12)
        for state, other in zip(states, alone[1:], strict=True):
            np.testing.assert_allclose(state[row], other[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("elman", keras.layers.SimpleRNN(UNITS, return_sequences=True)),
        ("lstm", keras.layers.LSTM(UNITS, return_sequences=True)),
        ("gru", keras.layers.GRU(UNITS, return_sequences=True, reset_after=False)),
        ("gru reset after", keras.layers.GRU(UNITS, return_sequences=True)),
    ],
)
def test_weights_are_interchangeable_with_keras(name, theirs):
    layer = make_layer(name, "float32")
    values = VALUES.astype("float32")
    theirs(values)
    theirs.set_weights(layer.get_weights())
    np.testing.assert_allclose(layer(values)[0], theirs(values), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_a_cell_is_made_again_from_its_configuration(name):
    cell = MAKERS[name]()
    again = type(cell).from_config(cell.get_config())
    assert again.get_config() == cell.get_config()
    assert again.blocks == cell.blocks


@pytest.mark.parametrize("name", ["elman", "gru", "everything"])
def test_a_saved_cell_gives_the_same(name, tmp_path):
    inputs = keras.Input((None, DIM))
    layer = Recurrent(MAKERS[name](), return_sequences=True, go_backwards=True)
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(VALUES), model(VALUES))
    assert tuple(model.output.shape) == (None, None, UNITS)


@pytest.mark.parametrize("name", ["elman", "gru", "lstm", "everything", "full gate recurrence"])
def test_cells_work_in_the_layer_of_keras(name):
    layer = make_layer(name)
    theirs = keras.layers.RNN(layer.cell, return_sequences=True, dtype="float64")
    np.testing.assert_allclose(layer(VALUES)[0], theirs(VALUES), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["elman", "gru", "lstm", "full gate recurrence"])
def test_chunks_with_a_carried_state_give_the_whole(name):
    layer = make_layer(name)
    expected, *_ = layer(VALUES)
    outputs, states = [], None
    for start in range(0, TIME, 2):
        chunk, *states = layer(VALUES[:, start : start + 2], initial_state=states)
        outputs.append(chunk)
    np.testing.assert_allclose(tf.concat(outputs, 1), expected, rtol=1e-10, atol=1e-12)


def test_the_carousel_of_1997_forgets_nothing():
    cell = LSTMCell(UNITS, forget_gate=False)
    cell.build((None, DIM))
    states = (tf.zeros((1, UNITS)), tf.constant([[1.0, -2.0, 3.0, 0.5, 0.0]]))
    step = cell.step(tf.constant([[-50.0] * 3 * UNITS]), states)  # every gate closed
    np.testing.assert_allclose(step.states[1], states[1], rtol=1e-7, atol=1e-20)


def test_the_forget_gate_begins_open_and_the_rest_at_zero():
    cell = LSTMCell(UNITS)
    cell.build((None, DIM))
    np.testing.assert_array_equal(cell.bias, [0] * UNITS + [1] * UNITS + [0] * 2 * UNITS)


def test_gates_and_states_are_there_to_look_into():
    cell = LSTMCell(UNITS, coupled=True)
    cell.build((None, DIM))
    step = cell.step(cell.project(tf.ones((1, DIM))), cell.get_initial_state(1))
    assert set(step.inside) == {"input", "forget", "output", "candidate", "cell", "hidden"}
    np.testing.assert_allclose(step.inside["forget"] + step.inside["input"], 1.0)
    np.testing.assert_array_equal(step.inside["hidden"], step.states[0])


def test_coupling_needs_both_gates():
    with pytest.raises(ValueError, match="coupled ties the forget gate to the input gate"):
        LSTMCell(UNITS, coupled=True, input_gate=False)
