"""Recurrent encoders and decoders: embedded (batch, time, dim), mask -> encoded, last state."""

import functools
from typing import Literal

import keras
import tensorflow as tf
from keras import ops

from common.layers.cells import ElmanCell, GRUCell, LSTMCell
from common.lstm.layer import LSTM, Bidirectional
from common.runs.registration import registered

CELLS = {
    "elman": ElmanCell,
    "lstm": LSTMCell,
    "lstm_1997": functools.partial(LSTMCell, forget_gate=False),
    "peephole": functools.partial(LSTMCell, peepholes=True),
    "coupled": functools.partial(LSTMCell, coupled=True),
    "layer_norm": functools.partial(LSTMCell, layer_norm=True),
    "gru": functools.partial(GRUCell, reset_after=False),
    "gru_reset_after": GRUCell,
}
BIDIRECTIONAL = ("no", "concat", "sum")


def make_layer(cell: str, units: int, **options) -> keras.layers.RNN:
    """A recurrent layer by the name of its cell; "lstm" is the fast one.

    Takes the options of `keras.layers.RNN`. Steps that its mask leaves out give zeros.
    """
    if cell not in CELLS:
        raise ValueError(f"expected a cell out of {', '.join(CELLS)}, got {cell!r}")
    if cell == "lstm":
        return LSTM(units, **options)
    return Recurrent(CELLS[cell](units, dtype=options.get("dtype")), **options)


def make_encoder(
    input_dim: int,
    units: int,
    *,
    cell: str = "lstm",
    num_layers: int = 1,
    bidirectional: Literal["no", "concat", "sum"] = "no",
    residual: bool = False,
    dropout: float = 0.0,
    name: str | None = None,
) -> keras.Model:
    """A stack of recurrent layers that reads a whole sequence.

    Takes `[embedded (batch, time, input_dim), mask (batch, time) bool, True = real]` and returns
    `[encoded (batch, time, width), last (batch, width)]`; width is `units`, twice that with
    "concat". `encoded` is zero at padded steps; `last` is the top layer's state after the last real
    step (of the backward direction: after the first), zeros in a row without any.

    The mask is an argument: that of `keras.layers.Embedding(mask_zero=True)` is not read, give
    `token_ids != 0`. It may have holes; on a GPU only padding on the right gets the fast cuDNN
    kernel.

    Args:
        input_dim: size of the input vectors.
        units: size of the state, per direction.
        cell: a name in CELLS.
        num_layers: layers on top of each other.
        bidirectional: a word in BIDIRECTIONAL; with "concat" and "sum" each layer also reads
            backwards, and joins both directions so.
        residual: layers above the first add their input to their output (GNMT, Wu et al. 2016,
            https://arxiv.org/abs/1609.08144).
        dropout: share of each layer's input that is dropped in training.
        name: of the model; None gives each encoder a name of its own.
    """
    if num_layers < 1:
        raise ValueError(f"num_layers must be at least 1, got {num_layers}")
    if bidirectional not in BIDIRECTIONAL:
        raise ValueError(
            f"expected bidirectional out of {', '.join(BIDIRECTIONAL)}, got {bidirectional!r}"
        )
    embedded = keras.Input((None, input_dim), name="embedded")
    mask = keras.Input((None,), dtype="bool", name="mask")
    encoded = last = embedded
    for number in range(num_layers):
        below = encoded
        entering = keras.layers.Dropout(dropout, name=f"dropout_{number}")(below)
        layer = make_layer(cell, units, return_sequences=True, return_state=True)
        if bidirectional == "no":
            layer.name = f"{cell}_{number}"
            encoded, last, *_ = layer(entering, mask=mask)
        else:
            both = Bidirectional(layer, merge_mode=bidirectional, name=f"{cell}_{number}")
            encoded, *states = both(entering, mask=mask)
            ends = [states[0], states[len(states) // 2]]
            last = ops.concatenate(ends, axis=-1) if bidirectional == "concat" else sum(ends)
        if residual and number:
            encoded = encoded + below
    name = name or f"encoder_{keras.backend.get_uid('encoder')}"
    return _with_checked_inputs(keras.Model([embedded, mask], [encoded, last], name=name))


def make_decoder(
    input_dim: int,
    units: int,
    *,
    cell: str = "lstm",
    num_layers: int = 1,
    residual: bool = False,
    dropout: float = 0.0,
    name: str | None = None,
) -> keras.Model:
    """A stack that starts from given states and returns its states.

    Takes `[embedded (batch, time, input_dim), mask (batch, time) bool, *states]` and returns
    `[decoded (batch, time, units), *states]`. The whole target in training and one step at a time
    in decoding give the same; so do the chunks of a long text whose states are passed on and cut
    (truncated back-propagation through time, Williams & Peng 1990,
    https://doi.org/10.1162/neco.1990.2.4.490). States are (batch, size), layer by layer, zeros at
    first: `zero_states`. Arguments as in `make_encoder`.
    """
    if num_layers < 1:
        raise ValueError(f"num_layers must be at least 1, got {num_layers}")
    embedded = keras.Input((None, input_dim), name="embedded")
    mask = keras.Input((None,), dtype="bool", name="mask")
    decoded, initial, final = embedded, [], []
    for number in range(num_layers):
        below = decoded
        entering = keras.layers.Dropout(dropout, name=f"dropout_{number}")(below)
        layer = make_layer(cell, units, return_sequences=True, return_state=True)
        layer.name = f"{cell}_{number}"
        sizes = layer.cell.state_size
        states = [
            keras.Input((size,), name=f"state_{number}_{place}") for place, size in enumerate(sizes)
        ]
        decoded, *new = layer(entering, mask=mask, initial_state=states)
        if residual and number:
            decoded = decoded + below
        initial, final = [*initial, *states], [*final, *new]
    inputs = [embedded, mask, *initial]
    name = name or f"decoder_{keras.backend.get_uid('decoder')}"
    return _with_checked_inputs(keras.Model(inputs, [decoded, *final], name=name))


def _with_checked_inputs(model: keras.Model) -> keras.Model:
    """The model, which now refuses a mask that is not bool: Keras would cast it silently."""
    model.input_spec = [
        keras.layers.InputSpec(
            name=tensor.name,
            ndim=len(tensor.shape),
            axes={-1: tensor.shape[-1]} if tensor.shape[-1] else None,
            dtype="bool" if tensor.dtype == "bool" else None,
        )
        for tensor in model.inputs
    ]
    return model


def zero_states(decoder: keras.Model, batch_size) -> list:
    """The states before the first step of a `make_decoder`."""
    return [ops.zeros((batch_size, state.shape[-1])) for state in decoder.inputs[2:]]


def kernels(model: keras.Model) -> dict[str, str]:
    """What computes each recurrent layer of `model` in training here, by the path of the layer.

    A layer says so by its attribute `computed_by`, a string.
    """
    layers = [layer for layer in model._flatten_layers() if hasattr(layer, "computed_by")]
    return {layer.path: layer.computed_by for layer in layers}


@registered("common.layers")
class OverGroups(keras.layers.Wrapper):
    """Runs a sequence encoder over groups of sequences, e.g. all questions about an image.

    Shapes: values `(batch, group, time, dim)`, mask `(batch, group, time)` bool, True = real.
    Returns: the encoder's last state `(batch, group, width)`; zeros for a sequence of padding.
    Words to sentences; an encoder on top of the result goes on to the document.

    Args:
        layer: from `make_encoder`; its weights are shared by all sequences.
    """

    def build(self, values_shape, mask_shape=None):
        """The encoder comes built."""
        self.built = True

    def call(self, values, mask, training=None):
        """See the class."""
        batch, group, time, dim = ops.shape(values)
        flat_mask = ops.reshape(mask, (batch * group, time))
        flat = ops.reshape(values, (batch * group, time, dim))
        _, last = self.layer([flat, flat_mask], training=training)
        return ops.reshape(last, (batch, group, last.shape[-1]))

    def compute_output_shape(self, values_shape, mask_shape=None):
        """See the class."""
        return (*values_shape[:2], self.layer.outputs[1].shape[-1])


@registered("common.layers")
class Recurrent(keras.layers.RNN):
    """A cell of `common.layers.cells` over a sequence; a `keras.layers.RNN`.

    Differs from its base class: the inputs of all steps go through one matrix product before the
    loop; and a step that the mask (batch, time; bool, True = real) leaves out gives zeros and keeps
    the states, wherever it stands.

    Args:
        cell: one cell; a stack is a stack of layers.
    """

    computed_by = "TensorFlow loop"

    def __init__(self, cell: keras.layers.Layer, *, zero_output_for_mask: bool = True, **options):
        super().__init__(cell, zero_output_for_mask=zero_output_for_mask, **options)

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """The loop, for `keras.layers.RNN.call`: last output, all outputs, last states."""
        time = tf.shape(sequences)[1]
        steps = _by_time(self.cell.project(sequences))
        real = None if mask is None else _by_time(mask[..., None])

        def body(t, states, outputs):
            here = time - 1 - t if self.go_backwards else t
            new = self.cell.step(steps.read(here), states).states
            output = new[0]
            if real is not None:
                now = real.read(here)
                pairs = zip(new, states, strict=True)
                new = tuple(tf.where(now, after, before) for after, before in pairs)
                output = tf.where(now, output, 0) if self.zero_output_for_mask else new[0]
            return t + 1, new, outputs.write(t, output)

        states = tuple(initial_state)
        outputs = tf.TensorArray(states[0].dtype, time, element_shape=states[0].shape)
        _, states, outputs = tf.while_loop(
            lambda t, *_: t < time, body, (0, states, outputs), maximum_iterations=time
        )
        return states[0], tf.transpose(outputs.stack(), [1, 0, 2]), list(states)


def _by_time(values: tf.Tensor) -> tf.TensorArray:
    """(batch, time, size) -> an array of (batch, size) by time."""
    array = tf.TensorArray(values.dtype, tf.shape(values)[1], element_shape=values.shape[::2])
    return array.unstack(tf.transpose(values, [1, 0, 2]))
