"""Facts about looking into recurrent layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.layers import inspection
from common.layers.cells import ElmanCell, LSTMCell
from common.layers.recurrent import Recurrent
from common.lstm.layer import LSTM

VALUES = np.random.default_rng(0).normal(size=(3, 6, 4)).astype("float32")
LAYERS = {
    "ours": lambda **o: LSTM(5, **o),
    "keras LSTM": lambda **o: keras.layers.LSTM(5, **o),
    "keras GRU": lambda **o: keras.layers.GRU(5, **o),
    "keras GRU before": lambda **o: keras.layers.GRU(5, reset_after=False, **o),
    "keras SimpleRNN": lambda **o: keras.layers.SimpleRNN(5, **o),
    "peephole": lambda **o: Recurrent(LSTMCell(5, peepholes=True), **o),
}


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_the_traced_hidden_state_is_the_output(kind, backwards):
    layer = LAYERS[kind](return_sequences=True, go_backwards=backwards)
    outputs = layer(VALUES).numpy()
    traced = inspection.trace(layer, VALUES)
    expected = outputs[:, ::-1] if backwards else outputs
    np.testing.assert_allclose(traced["hidden"], expected, rtol=1e-5, atol=1e-6)


def test_the_traced_gates_make_the_cell_state():
    layer = LSTM(5, return_sequences=True)
    layer(VALUES)
    traced = inspection.trace(layer, VALUES)
    assert set(traced) == {"input", "forget", "output", "candidate", "cell", "hidden"}
    before = np.pad(traced["cell"], [(0, 0), (1, 0), (0, 0)])[:, :-1]
    cell = traced["forget"] * before + traced["input"] * traced["candidate"]
    np.testing.assert_allclose(traced["cell"], cell, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(traced["hidden"], traced["output"] * tf.tanh(cell), atol=1e-6)


def test_padding_keeps_the_states_and_has_no_gates():
    layer = LSTM(5, return_sequences=True)
    mask = np.array([[1, 1, 0, 0, 1, 0], [0] * 6, [1] * 6], bool)
    outputs = layer(VALUES, mask=tf.constant(mask)).numpy()
    traced = inspection.trace(layer, VALUES, mask)
    np.testing.assert_allclose(traced["hidden"][mask], outputs[mask], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(traced["cell"][0, 3], traced["cell"][0, 1])
    assert np.abs(traced["input"].numpy()[~mask]).max() == 0.0


def test_gradient_norms_are_those_of_the_jacobian():
    """A linear chain h_t = U h_{t-1} in the small: its Jacobian is a power of U."""
    layer = Recurrent(ElmanCell(5), return_sequences=True)
    values = np.zeros((4000, 4, 2), "float32")
    layer(values)
    recurrent = np.random.default_rng(1).normal(size=(5, 5)) * 0.6
    layer.set_weights([np.zeros((2, 5)), recurrent, np.zeros(5)])
    expected = [np.linalg.norm(np.linalg.matrix_power(recurrent, 3 - t)) for t in range(4)]
    np.testing.assert_allclose(inspection.gradient_norms(layer, values), expected, rtol=0.03)


def test_an_open_cell_keeps_the_gradient_and_a_simple_network_loses_it():
    values = np.random.default_rng(2).normal(size=(20, 60, 3)).astype("float32")
    open_cell = Recurrent(LSTMCell(16, forget_gate=False))
    simple = Recurrent(ElmanCell(16))
    norms = {}
    for name, layer in (("lstm", open_cell), ("simple", simple)):
        layer(values)
        layer.cell.recurrent_kernel.assign(layer.cell.recurrent_kernel * 0.5)
        norms[name] = inspection.gradient_norms(layer, values).numpy()
    assert norms["lstm"][0] > 0.1 * norms["lstm"][-2]
    assert norms["simple"][0] < 1e-6 * norms["simple"][-2]


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.LSTM(5, activation="relu"),
        keras.layers.LSTM(5, use_bias=False),
        keras.layers.RNN(keras.layers.StackedRNNCells([keras.layers.LSTMCell(5)])),
    ],
)
def test_other_layers_are_refused(layer):
    layer(VALUES)
    with pytest.raises(ValueError, match="expected a"):
        inspection.cell_of(layer)
