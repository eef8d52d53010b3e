"""The LSTM layer of all apps: `keras.layers.LSTM`, trained in machine code on a CPU.

The public module of the package: the others are imported from here alone.
"""

import contextlib
import contextvars
import functools
import logging
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import keras
import tensorflow as tf

from common.lstm import loops, twins
from common.lstm.loops import converting as converting
from common.runs.registration import registered

logger = logging.getLogger("cellstate")
_is_open = contextvars.ContextVar("is_open", default=False)  # see `machine_code`


@registered("common.layers")
class LSTM(keras.layers.LSTM):
    """Long short-term memory (Gers et al. 2000, https://doi.org/10.1162/089976600300015015).

    The same layer, options, weights and results as `keras.layers.LSTM`: either can load the weights
    of the other, and `keras.layers.Bidirectional` can wrap it. What computes it:

    - on a CPU in training, and where `machine_code` is open: the machine code of
      `common.lstm.kernel`, which skips all padding;
    - elsewhere on a CPU: the TensorFlow operations of `common.lstm.loops`, so that an exported
      model needs TensorFlow alone;
    - everything else: Keras' own code. That is a GPU (cuDNN), training without the package numba,
      and options that the machine code does not have (other activations, recurrent dropout,
      float64).

    With `return_sequences` masked steps give zeros, where Keras' default repeats the last output:
    `zero_output_for_mask` is by default what `return_sequences` is, as in Keras' `Bidirectional`.
    `unroll` is refused: in Keras 3.15 an unrolled layer inside `Bidirectional` gives wrong numbers
    under any mask.
    """

    def __init__(self, units, *arguments, zero_output_for_mask: bool | None = None, **options):
        super().__init__(units, *arguments, **options)
        if self.unroll:
            raise ValueError("expected unroll=False, got True: with masks Keras would go wrong")
        self.zero_output_for_mask = (
            self.return_sequences if zero_output_for_mask is None else zero_output_for_mask
        )
        self.supports_jit = False  # XLA cannot compile a call out of TensorFlow

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """The loop, for `keras.layers.RNN.call`: last output, all outputs, last states."""
        mask = as_mask(mask, sequences)
        if sequences.shape[1] == 1 and not training:
            return self.one_step(sequences, initial_state, mask)
        if not self.is_fast(training):
            return super().inner_loop(sequences, initial_state, mask, training=training)
        if 0 < self.dropout < 1 and training:
            sequences = sequences * self.cell.get_dropout_mask(sequences[:, 0])[:, None]
        outputs, hidden, cell = choose(training)(
            sequences,
            [self.weights_in_float32()],
            [[tf.cast(state, tf.float32) for state in initial_state]],
            mask,
            reverses=[self.go_backwards],
        )
        if self.go_backwards:  # Keras gives them in the order of their making
            outputs = tf.reverse(outputs, [1])
        last = hidden
        if mask is not None and not self.return_sequences:  # of no step: not the initial state
            last = tf.where(tf.reduce_any(mask, axis=1, keepdims=True), hidden, 0.0)
        return last, outputs, [hidden, cell]

    def one_step(self, sequences, initial_state, mask) -> tuple:
        """As `inner_loop` for a decoder, which goes on by one step: no loop inside its own."""
        output, states = self.cell(sequences[:, 0], initial_state)
        if mask is not None:
            output = tf.where(mask, output, tf.zeros_like(output))
            states = [tf.where(mask, *both) for both in zip(states, initial_state, strict=True)]
        return output, output[:, None], states

    def weights_in_float32(self) -> list:
        """Kernel, recurrent kernel and bias, also of a layer without one."""
        bias = self.cell.bias if self.use_bias else tf.zeros(4 * self.units)
        weights = (self.cell.kernel, self.cell.recurrent_kernel, bias)
        return [tf.cast(weight, tf.float32) for weight in weights]

    @property
    def computed_by(self) -> str:
        """What computes this layer in training on this machine."""
        if tf.config.list_logical_devices("GPU"):
            return "Keras, cuDNN"
        if not self.is_fast(training=False):
            return "Keras"
        code = load_kernel()
        if code is None:
            return "Keras, as numba is not installed"
        return f"machine code, vectors of {code.LANES} floats"

    def is_fast(self, training: bool) -> bool:
        """Whether this package computes the layer here, and not Keras' code."""
        return (
            self.activation is keras.activations.tanh
            and self.recurrent_activation is keras.activations.sigmoid
            and not self.recurrent_dropout
            and not (self.dropout and self.cell.implementation == 1)  # a mask for each gate
            and self.use_cudnn is not True
            and bool(self.zero_output_for_mask) == bool(self.return_sequences)
            and self.compute_dtype != "float64"
            and not tf.config.list_logical_devices("GPU")
            and (not training or load_kernel() is not None)
        )


@registered("common.layers")
class Bidirectional(keras.layers.Bidirectional):
    """`keras.layers.Bidirectional`; where its two `LSTM` layers train in machine code, as one.

    Sequences are then neither reversed nor joined, and both directions run at the same time.
    """

    def call(self, sequences, initial_state=None, mask=None, training=None):
        """See the base class."""
        if not self.is_fast(bool(training)):
            return super().call(sequences, initial_state, mask, training)
        layers = self.forward_layer, self.backward_layer
        if initial_state is None:
            initial_state = 4 * [tf.zeros([tf.shape(sequences)[0], layers[0].units])]
        states = [tf.cast(state, tf.float32) for state in initial_state]
        outputs, *ends = choose(training)(
            sequences,
            [layer.weights_in_float32() for layer in layers],
            [states[:2], states[2:]],
            as_mask(mask, sequences),
            reverses=[False, True],
        )
        if self.merge_mode == "sum":
            outputs = tf.add_n(tf.split(outputs, 2, axis=-1))
        outputs, *ends = (tf.cast(values, self.compute_dtype) for values in (outputs, *ends))
        if not self.return_state:
            return outputs
        (forward_hidden, hidden), (forward_cell, cell) = (tf.split(end, 2, -1) for end in ends)
        return outputs, forward_hidden, forward_cell, hidden, cell

    def is_fast(self, training: bool) -> bool:
        """Whether this package computes both directions together here."""
        layers = self.forward_layer, self.backward_layer
        return (
            all(isinstance(layer, LSTM) and layer.is_fast(training) for layer in layers)
            and layers[0].units == layers[1].units
            and not layers[0].go_backwards
            and not any(layer.dropout or layer.activity_regularizer for layer in layers)
            and {layer.compute_dtype for layer in layers} == {self.compute_dtype}
            and self.return_sequences
            and not self.stateful
            and self.merge_mode in ("concat", "sum")
        )

    def compute_output_shape(self, sequences_shape, initial_state_shape=None):
        """As the base class, which takes both layers to have the same number of units."""
        layers = self.forward_layer, self.backward_layer
        shapes = [layer.compute_output_shape(sequences_shape) for layer in layers]
        outputs, states = shapes, []
        if self.return_state:
            outputs = [outputs for outputs, *_ in shapes]
            states = [state for _, *states in shapes for state in states]
        if self.merge_mode == "concat":
            outputs = [(*outputs[0][:-1], outputs[0][-1] + outputs[1][-1])]
        elif self.merge_mode:
            outputs = outputs[:1]
        return (*outputs, *states) if states or len(outputs) > 1 else outputs[0]


def as_mask(mask, sequences):
    """Bool (batch, time), from what Keras' layers take: other dtypes, (batch, time, 1), a list."""
    if mask is None:
        return None
    mask = tf.cast(tf.nest.flatten(mask)[0], tf.bool)
    if len(mask.shape) == 3:
        mask = tf.squeeze(mask, -1)
    if mask.shape[0] == 1 and sequences.shape[0] != 1:  # one for all
        mask = tf.broadcast_to(mask, tf.shape(sequences)[:2])
    mask.shape.assert_is_compatible_with(sequences.shape[:2])
    return mask


@contextlib.contextmanager
def machine_code(is_open: bool = True) -> Iterator[None]:
    """Layers called inside run in machine code outside training too, where they can.

    What is traced inside belongs to this process: TensorFlow refuses to save it, and traces anew
    what is saved outside. With `is_open` False the context is closed inside, as `common.export`
    does around what it saves.
    """
    token = _is_open.set(is_open)
    try:
        yield
    finally:
        _is_open.reset(token)


def choose(training: bool | None) -> Callable[..., list]:
    """What runs LSTMs for which `is_fast` holds: `run`, or `loops.run` with the same arguments."""
    if training:
        return run
    if _is_open.get() and not loops.is_converting() and load_kernel() is not None:
        return functools.partial(run, training=False)
    return loops.run


@functools.cache
def load_kernel() -> Any:
    """The module `kernel`; None, which the log says once, where numba is not installed."""
    try:
        from common.lstm import kernel
    except ImportError as error:
        logger.warning(
            "LSTMs train with Keras' own layer, which is slower: expected the packages numba and "
            "llvmlite, got %s; run `pip install -r requirements.txt`",
            error,
        )
        return None
    return kernel


def run(inputs, weights, states, mask, *, reverses, training: bool = True) -> list:
    """Runs LSTMs in machine code over the real steps of the same sequences.

    The products with the kernels are made in the dtype of the inputs, bfloat16 for example; the
    recurrent products, the gates and the states are float32.

    Args:
        inputs: float32 or bfloat16 (batch, time, input_dim); other dtypes are made float32.
        weights: kernel (input_dim, 4 units), recurrent kernel (units, 4 units) and bias (4 units,)
            for each LSTM.
        states: hidden and cell state at the start, (batch, units), for each LSTM.
        mask: bool (batch, time), True = real; or None.
        reverses: for each LSTM, whether it goes from the last real step to the first; the outputs
            stay in the order of the inputs.
        training: without it nothing is kept for gradients, which are slow then.

    Returns:
        float32: outputs (batch, time, LSTMs * units), zero at padding; the last hidden states, the
        last cell states (batch, LSTMs * units), in a row without real steps those of the start.
    """
    if inputs.dtype != tf.bfloat16:
        inputs = tf.cast(inputs, tf.float32)
    units = states[0][0].shape[-1]
    padding = -units % load_kernel().LANES
    if padding:
        weights = [[_pad_gates(part, units, padding) for part in parts] for parts in weights]
        weights = [
            (kernel, tf.pad(recurrent, [[0, padding], [0, 0]]), bias)
            for kernel, recurrent, bias in weights
        ]
        states = [[tf.pad(state, [[0, 0], [0, padding]]) for state in pair] for pair in states]
    hidden, cell = (tf.concat([pair[place] for pair in states], -1) for place in (0, 1))
    run_packed = _train if training else _infer
    results = _run_padded(run_packed, inputs, hidden, cell, mask, reverses, weights)
    return [_cut(values, len(reverses), units) if padding else values for values in results]


def _pad_gates(values, units: int, padding: int):
    """(…, 4 units) -> (…, 4 (units + padding)), zeros at the end of each gate."""
    gates = tf.reshape(values, [*values.shape[:-1], 4, units])
    padded = tf.pad(gates, [*[[0, 0]] * (len(gates.shape) - 1), [0, padding]])
    return tf.reshape(padded, [*values.shape[:-1], 4 * (units + padding)])


def _cut(values, count: int, units: int):
    """(…, count * wider) -> (…, count * units), the start of each."""
    outer = tf.shape(values)[:-1]
    apart = tf.reshape(values, tf.concat([outer, [count, values.shape[-1] // count]], 0))
    # Not values[..., :units]: the gradient of that is several times slower.
    cut = tf.slice(apart, tf.zeros_like(tf.shape(apart)), tf.concat([outer, [count, units]], 0))
    joined = tf.reshape(cut, tf.concat([outer, [count * units]], 0))
    return tf.ensure_shape(joined, [*values.shape[:-1], count * units])


def _run_padded(run_packed, inputs, hidden, cell, mask, reverses, weights):
    """As `run`, for units that fill whole vectors, with the states side by side."""
    batch, time = tf.unstack(tf.shape(inputs, tf.int64)[:2])
    real = None if mask is None else tf.where(mask)  # (steps, 2), sequence by sequence
    if mask is None:
        lengths = tf.fill([batch], time)
    else:
        lengths = tf.reduce_sum(tf.cast(mask, tf.int64), axis=1)
    starts = tf.cumsum(lengths, exclusive=True)

    def pack(values):
        size = values.shape[-1]
        return tf.reshape(values, [-1, size]) if real is None else tf.gather_nd(values, real)

    def unpack(values):
        shape = tf.stack([batch, time, values.shape[-1]])
        return tf.reshape(values, shape) if real is None else tf.scatter_nd(real, values, shape)

    hiddens, *ends = run_packed(pack(inputs), (starts, lengths), hidden, cell, weights, reverses)
    return [unpack(hiddens), *ends]


def _infer(inputs, places, hidden, cell, weights, reverses) -> list:
    """Packed hidden states (steps, width), last hidden and last cell states (batch, width)."""
    tf.raw_ops.VarIsInitializedOp(resource=_handle_of_process())
    arrays = _as_arrays(inputs, places, hidden, cell, list(chain(*weights)))
    return _call("infer", arrays, reverses=reverses, sizes=3 * [hidden.shape[-1]])


@functools.cache
def _handle_of_process() -> tf.Tensor:
    """A graph that reads this, and so needs this process, TensorFlow refuses to save."""
    with tf.init_scope():
        return tf.raw_ops.VarHandleOp(
            dtype=tf.bool, shape=[], shared_name="machine code of a process"
        )


def _as_arrays(inputs, places, hidden, cell, weights) -> list:
    """What the machine code takes: all float32, kernels as precise as the inputs."""
    weights[::3] = [tf.cast(tf.cast(kernel, inputs.dtype), tf.float32) for kernel in weights[::3]]
    return [tf.cast(inputs, tf.float32), *places, hidden, cell, *weights]


def _train(inputs, places, hidden, cell, weights, reverses):
    """As `_infer`, with the gradients."""
    width, count = hidden.shape[-1], len(reverses)
    units = width // count

    def product(left, right, **options):
        same = (tf.cast(side, inputs.dtype) for side in (left, right))
        return tf.cast(tf.matmul(*same, **options), tf.float32)

    @tf.custom_gradient
    def lstm(inputs, hidden, cell, *weights):
        kernels, recurrents, _ = (weights[place::3] for place in range(3))
        gates, hiddens, cells, *ends = _call(
            "forward",
            _as_arrays(inputs, places, hidden, cell, list(weights)),
            reverses=reverses,
            sizes=[4 * width, width, width, width, width],
        )

        def gradient(dhiddens, dlast_hidden, dlast_cell):
            dhidden, dcell, *pairs = _call(
                "backward",
                [
                    *(*places, hidden, cell, gates, hiddens, cells),
                    *(dhiddens, dlast_hidden, dlast_cell, *recurrents),
                ],
                reverses=reverses,
                sizes=[width, width, *[4 * units, units] * count],
            )
            dinputs, dweights = [], []
            for dsums, entering, kernel in zip(pairs[::2], pairs[1::2], kernels, strict=True):
                # The sum over the steps as a product: several times faster than reduce_sum.
                dbias = tf.matmul(tf.ones([1, tf.shape(dsums)[0]]), dsums)[0]
                dsums = tf.cast(dsums, inputs.dtype)
                dinputs.append(product(dsums, kernel, transpose_b=True))
                dkernel, drecurrent = (
                    product(values, dsums, transpose_a=True) for values in (inputs, entering)
                )
                dweights += dkernel, drecurrent, dbias
            return tf.cast(tf.add_n(dinputs), inputs.dtype), dhidden, dcell, *dweights

        return (hiddens, *ends), gradient

    return lstm(inputs, hidden, cell, *chain(*weights))


def _call(name: str, tensors: list, *, reverses, sizes: list[int]) -> list[tf.Tensor]:
    """Calls a function of the machine code; it gives float32 (rows, size) for each of `sizes`.

    Its gradient is that of its twin: in a graph by the registry, elsewhere by the tapes.
    """
    function = functools.partial(getattr(load_kernel(), name), reverses=reverses)
    gradient = twins.gradient_of(name, tuple(reverses))
    with tf.compat.v1.get_default_graph().gradient_override_map({"PyFuncStateless": gradient}):
        results = tf.numpy_function(function, tensors, len(sizes) * [tf.float32], stateful=False)
    tf.__internal__.record_gradient(gradient, tensors, (), results)
    for result, size in zip(results, sizes, strict=True):
        result.set_shape([None, size])
    return results
