"""Recurrent encoders and decoders: embedded (batch, time, dim), mask -> encoded, last state."""

import functools
from typing import Literal

import keras
import tensorflow as tf
from keras import ops

from common.layers.cells import ElmanCell, GRUCell, LSTMCell
from common.lstm.layer import LSTM, Bidirectional

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
Connect = Literal["plain", "residual", "skip"]


def make_layer(
    cell: str, units: int, *, recurrent_dropout: float = 0.0, zoneout: tuple = (), **options
) -> keras.layers.RNN:
    """A recurrent layer by the name of its cell; "lstm" without regularisers is the fast one.

    Takes the options of `keras.layers.RNN`. Steps that its mask leaves out give zeros.
    """
    if cell not in CELLS:
        raise ValueError(f"expected a cell out of {', '.join(CELLS)}, got {cell!r}")
    if cell == "lstm" and not (recurrent_dropout or zoneout):
        return LSTM(units, **options)
    return Recurrent(
        CELLS[cell](units, dtype=options.get("dtype")),
        recurrent_dropout=recurrent_dropout,
        zoneout=zoneout,
        **options,
    )


def make_encoder(
    input_dim: int,
    units: int,
    *,
    cell: str = "lstm",
    num_layers: int = 1,
    bidirectional: Literal["no", "concat", "sum"] = "no",
    connect: Connect = "plain",
    dropout: float = 0.0,
    same_dropout: bool = False,
    recurrent_dropout: float = 0.0,
    zoneout: tuple[float, ...] = (),
    name: str = "encoder",
) -> keras.Model:
    """A stack of recurrent layers that reads a whole sequence.

    Takes `[embedded (batch, time, input_dim), mask (batch, time) bool, True = real]` and returns
    `[encoded (batch, time, width), last (batch, width)]`; width is `units`, twice that with
    "concat". `encoded` is zero at padded steps; `last` is the top layer's state after the last real
    step (of the backward direction: after the first), zeros in a row without any.

    The mask may have holes; on a GPU only padding on the right gets the fast cuDNN kernel.

    Args:
        input_dim: size of the vectors that come in.
        units: size of the state, per direction.
        cell: a name in CELLS.
        num_layers: layers on top of each other.
        bidirectional: each layer also reads backwards, and joins both so.
        connect: what layers above the first get besides the output below: "residual" adds its own
            input to its output (GNMT, Wu et al. 2016, https://arxiv.org/abs/1609.08144), "skip"
            puts `embedded` beside its input (Graves 2013, https://arxiv.org/abs/1308.0850).
        dropout: share of each layer's input that is dropped in training.
        same_dropout: the same features in all steps of a sequence (Gal & Ghahramani 2016,
            https://arxiv.org/abs/1512.05287).
        recurrent_dropout, zoneout: see `Recurrent`; they rule the fast kernels out.
    """
    if num_layers < 1:
        raise ValueError(f"num_layers must be at least 1, got {num_layers}")
    embedded = keras.Input((None, input_dim), name="embedded")
    mask = keras.Input((None,), dtype="bool", name="mask")
    encoded = last = embedded
    for number in range(num_layers):
        below = encoded
        shape = (None, 1, None) if same_dropout else None
        entering = _enter(number, below, embedded, connect, dropout, noise_shape=shape)
        layer = make_layer(
            cell,
            units,
            recurrent_dropout=recurrent_dropout,
            zoneout=zoneout,
            return_sequences=True,
            return_state=True,
        )
        if bidirectional == "no":
            layer.name = f"{cell}_{number}"
            encoded, last, *_ = layer(entering, mask=mask)
        else:
            both = Bidirectional(layer, merge_mode=bidirectional, name=f"{cell}_{number}")
            encoded, *states = both(entering, mask=mask)
            ends = [states[0], states[len(states) // 2]]
            last = ops.concatenate(ends, axis=-1) if bidirectional == "concat" else sum(ends)
        if connect == "residual" and number:
            encoded = encoded + below
    return keras.Model([embedded, mask], [encoded, last], name=name)


def make_decoder(
    input_dim: int,
    units: int,
    *,
    cell: str = "lstm",
    num_layers: int = 1,
    connect: Connect = "plain",
    dropout: float = 0.0,
    name: str = "decoder",
) -> keras.Model:
    """A stack that starts from given states and gives its states back.

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
    decoded, given, after = embedded, [], []
    for number in range(num_layers):
        below = decoded
        entering = _enter(number, below, embedded, connect, dropout)
        layer = make_layer(cell, units, return_sequences=True, return_state=True)
        layer.name = f"{cell}_{number}"
        sizes = layer.cell.state_size
        states = [
            keras.Input((size,), name=f"state_{number}_{place}") for place, size in enumerate(sizes)
        ]
        decoded, *new = layer(entering, mask=mask, initial_state=states)
        if connect == "residual" and number:
            decoded = decoded + below
        given, after = [*given, *states], [*after, *new]
    return keras.Model([embedded, mask, *given], [decoded, *after], name=name)


def _enter(number: int, below, embedded, connect: Connect, dropout: float, noise_shape=None):
    """What layer `number` of a stack reads."""
    if connect == "skip" and number:
        below = ops.concatenate([below, embedded], axis=-1)
    return keras.layers.Dropout(dropout, noise_shape=noise_shape, name=f"dropout_{number}")(below)


def zero_states(decoder: keras.Model, batch_size) -> list:
    """The states before the first step of a `make_decoder`."""
    return [ops.zeros((batch_size, state.shape[-1])) for state in decoder.inputs[2:]]


def kernels(model: keras.Model) -> dict[str, str]:
    """What computes each recurrent layer of `model` in training here, by the path of the layer.

    A layer of another kind than `keras.layers.RNN` is among them when it has an attribute `kernel`
    that is a string, as a decoder that runs cells itself.
    """
    found = {}
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.RNN):
            found[layer.path] = layer.kernel() if isinstance(layer, LSTM) else "TensorFlow loop"
        elif isinstance(getattr(layer, "kernel", None), str):
            found[layer.path] = layer.kernel
    return found


@keras.saving.register_keras_serializable("cellstate")
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


@keras.saving.register_keras_serializable("cellstate")
class Recurrent(keras.layers.RNN):
    """A cell of `common.layers.cells` over a sequence; a `keras.layers.RNN`.

    Differs from its base class: the inputs of all steps go through one matrix product before the
    loop; a step that the mask (batch, time; bool, True = real) leaves out gives zeros and keeps
    the states, wherever it stands; and two regularisers act on the states in training.

    Args:
        cell: one cell; a stack is a stack of layers.
        recurrent_dropout: share of the hidden state dropped where it enters the next step, the
            same units in all steps (Gal & Ghahramani 2016, https://arxiv.org/abs/1512.05287).
        zoneout: for each state, hidden state first, the chance of a unit to keep its old value in
            a step; outside training the expected value (Krueger et al. 2017,
            https://arxiv.org/abs/1606.01305, who take (0.05, 0.5) for an LSTM).
    """

    def __init__(
        self,
        cell: keras.layers.Layer,
        *,
        recurrent_dropout: float = 0.0,
        zoneout: tuple[float, ...] = (),
        zero_output_for_mask: bool = True,
        **options,
    ):
        super().__init__(cell, zero_output_for_mask=zero_output_for_mask, **options)
        if not all(0.0 <= rate < 1.0 for rate in (recurrent_dropout, *zoneout)):
            raise ValueError("recurrent_dropout and the rates of zoneout must be in [0, 1)")
        if zoneout and len(zoneout) != len(cell.state_size):
            raise ValueError(
                f"zoneout: expected {len(cell.state_size)} rates, one for each state of "
                f"{type(cell).__name__}, got {len(zoneout)}"
            )
        self.recurrent_dropout = recurrent_dropout
        self.zoneout = tuple(zoneout)
        self.seed_generator = keras.random.SeedGenerator()

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """The loop, for `keras.layers.RNN.call`: last output, all outputs, last states."""
        time = tf.shape(sequences)[1]
        steps = _by_time(self.cell.project(sequences))
        real = None if mask is None else _by_time(mask[..., None])
        recurrent_mask, seed = None, None
        if training and self.recurrent_dropout:
            recurrent_mask = keras.random.dropout(
                tf.ones_like(initial_state[0]), self.recurrent_dropout, seed=self.seed_generator
            )
        if training and self.zoneout:
            seed = tf.cast(self.seed_generator.next(), tf.int32)

        def body(t, states, outputs):
            here = time - 1 - t if self.go_backwards else t
            new = self.cell.step(steps.read(here), states, recurrent_mask).states
            if self.zoneout:
                new = self._zoned_out(states, new, seed, t)
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

    def get_config(self) -> dict:
        """See the base class."""
        own = {"recurrent_dropout": self.recurrent_dropout, "zoneout": self.zoneout}
        return {**super().get_config(), **own}

    def _zoned_out(self, states, new, seed, t):
        mixed = []
        for place, (rate, before, after) in enumerate(zip(self.zoneout, states, new, strict=True)):
            if seed is None:
                mixed.append(rate * before + (1 - rate) * after)
            else:
                drawn = tf.random.stateless_uniform(
                    tf.shape(after), seed + tf.stack([t, place]), dtype=tf.float32
                )
                mixed.append(tf.where(drawn < rate, before, after))
        return tuple(mixed)


def _by_time(values: tf.Tensor) -> tf.TensorArray:
    """(batch, time, size) -> an array of (batch, size) by time."""
    array = tf.TensorArray(values.dtype, tf.shape(values)[1], element_shape=values.shape[::2])
    return array.unstack(tf.transpose(values, [1, 0, 2]))
