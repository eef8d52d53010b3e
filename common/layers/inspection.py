"""Looks inside recurrent layers: (batch, time, dim) -> gates, states and gradients over time."""

import keras
import tensorflow as tf

from common.layers.cells import Cell, ElmanCell, GRUCell, LSTMCell


def cell_of(layer: keras.layers.RNN) -> Cell:
    """The layer's cell as one of ours, with the same weights.

    Args:
        layer: a `Recurrent`, our `LSTM`, or Keras' `LSTM`, `GRU` or `SimpleRNN`, built.

    Raises:
        ValueError: a layer with other activations, or of another kind.
    """
    cell = layer.cell
    if isinstance(cell, Cell):
        return cell
    if isinstance(layer, keras.layers.LSTM):
        same = LSTMCell(layer.units, dtype=layer.dtype_policy)
    elif isinstance(layer, keras.layers.GRU):
        same = GRUCell(layer.units, reset_after=layer.reset_after, dtype=layer.dtype_policy)
    elif isinstance(layer, keras.layers.SimpleRNN):
        same = ElmanCell(layer.units, dtype=layer.dtype_policy)
    else:
        raise ValueError(f"expected an LSTM, GRU or SimpleRNN, got a {type(layer).__name__}")
    gates = getattr(layer, "recurrent_activation", keras.activations.sigmoid)
    usual = layer.activation is keras.activations.tanh and gates is keras.activations.sigmoid
    if not (usual and layer.use_bias):
        raise ValueError("expected a layer with a bias and the usual activations, tanh and sigmoid")
    same.build((None, cell.kernel.shape[0]))
    same.set_weights(cell.get_weights())
    return same


def trace(layer: keras.layers.RNN, inputs, mask=None) -> dict[str, tf.Tensor]:
    """Every gate, candidate and state of one layer over time.

    Args:
        layer: see `cell_of`.
        inputs: (batch, time, input_dim).
        mask: (batch, time) bool, True = real; a step left out keeps the states of the one before
            and has gates of zero.

    Returns:
        name -> (batch, time, units), in the order of the inputs, e.g. input, forget, output,
        candidate, cell, hidden of an LSTM.
    """
    cell = cell_of(layer)
    inputs = tf.cast(inputs, cell.compute_dtype)
    projected = cell.project(inputs)
    states, rows = tuple(cell.get_initial_state(inputs.shape[0])), []
    places = range(inputs.shape[1])
    for t in reversed(places) if layer.go_backwards else places:
        step = cell.step(projected[:, t], states)
        new, inside = step.states, step.inside
        if mask is not None:
            real = tf.convert_to_tensor(mask)[:, t, None]
            new = tuple(tf.where(real, a, b) for a, b in zip(new, states, strict=True))
            inside = {name: tf.where(real, value, 0) for name, value in inside.items()}
            inside["hidden"] = new[0]
            if "cell" in inside:
                inside["cell"] = new[1]
        states = new
        rows.append(inside)
    if layer.go_backwards:
        rows.reverse()
    return {name: tf.stack([row[name] for row in rows], axis=1) for name in rows[0]}


def gradient_norms(layer: keras.layers.RNN, inputs) -> tf.Tensor:
    """How strongly the states of each step affect the last output: |d h_T / d s_t|.

    s_t holds all states of the step. The Frobenius norm of the Jacobian, estimated without forming
    it: the root mean square over the batch of |v' dh_T/ds_t| for random signs v (Hutchinson 1990,
    https://doi.org/10.1080/03610919008812866), so take many sequences.

    Inputs (batch, time, input_dim) of a layer that goes forwards, see `cell_of` -> (time,), at the
    last step the norm of the identity, sqrt(units).
    """
    cell = cell_of(layer)
    inputs = tf.cast(inputs, cell.compute_dtype)
    projected = cell.project(inputs)
    states, history = tuple(cell.get_initial_state(inputs.shape[0])), []
    with tf.GradientTape() as tape:
        for t in range(inputs.shape[1]):
            states = cell.step(projected[:, t], states).states
            tape.watch(states)
            history.append(states)
        normal = tf.random.stateless_normal(tf.shape(states[0]), [1, 1], dtype=states[0].dtype)
        total = tf.reduce_sum(states[0] * tf.sign(normal))
    gradients = tape.gradient(total, history, unconnected_gradients="zero")
    return tf.stack(
        [
            tf.sqrt(tf.reduce_mean(sum(tf.reduce_sum(g**2, axis=-1) for g in at_step)))
            for at_step in gradients
        ]
    )
