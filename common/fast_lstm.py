"""The LSTM layer of all apps: `keras.layers.LSTM`, trained in machine code on a CPU."""

import functools

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("cellstate")
class LSTM(keras.layers.LSTM):
    """Long short-term memory (Gers et al. 2000, https://doi.org/10.1162/089976600300015015).

    The same layer, options, weights and results as `keras.layers.LSTM`, so that either can load
    the weights of the other, and inside `keras.layers.Bidirectional`. On a CPU it trains with the
    machine code of `common.lstm_kernel`, which skips padding, wherever it stands. Keras' own
    kernels run on a GPU (cuDNN), outside training (so that an exported model needs TensorFlow
    alone), and with options that the machine code does not have: other activations, recurrent
    dropout, float64.

    Masked steps give zeros, not Keras' repetition of the last output.
    """

    def __init__(self, units: int, *, zero_output_for_mask: bool = True, **options):
        super().__init__(units, zero_output_for_mask=zero_output_for_mask, **options)
        self.supports_jit = False  # XLA cannot compile a call out of TensorFlow

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """The loop, for `keras.layers.RNN.call`: last output, all outputs, last states."""
        if not (training and self.compiles()):
            return super().inner_loop(sequences, initial_state, mask, training=training)
        if self.dropout:
            sequences = sequences * self.cell.get_dropout_mask(sequences[:, 0])[:, None]
        bias = self.cell.bias if self.use_bias else tf.zeros(4 * self.units)
        weights = (self.cell.kernel, self.cell.recurrent_kernel, bias)
        numbers = [tf.cast(x, tf.float32) for x in (sequences, *weights, *initial_state)]
        outputs, hidden, cell = run(*numbers, mask, reverse=self.go_backwards)
        if self.go_backwards:  # Keras gives them in the order of their making
            outputs = tf.reverse(outputs, [1])
        return hidden, outputs, [hidden, cell]

    def compiles(self) -> bool:
        """Whether machine code trains this layer here."""
        return (
            self.activation is keras.activations.tanh
            and self.recurrent_activation is keras.activations.sigmoid
            and not self.recurrent_dropout
            and self.zero_output_for_mask
            and self.compute_dtype != "float64"
            and not tf.config.list_logical_devices("GPU")
        )


def run(inputs, kernel, recurrent_kernel, bias, hidden, cell, mask, *, reverse: bool):
    """Runs the LSTM over the real steps of each sequence; for training, it keeps all gates.

    Args:
        inputs: float32 (batch, time, input_dim).
        kernel, recurrent_kernel, bias: float32 (input_dim, 4 units), (units, 4 units), (4 units,).
        hidden, cell: float32 (batch, units), the states at the start.
        mask: bool (batch, time), True = real; or None.
        reverse: from the last real step to the first; the outputs stay in the order of the inputs.

    Returns:
        outputs (batch, time, units), zero at padding; the last hidden and cell state (batch,
        units), in a row without real steps those of the start.
    """
    from common import lstm_kernel

    units = hidden.shape[-1]
    padding = -units % lstm_kernel.LANES
    if padding:
        kernel, recurrent_kernel, bias = (
            tf.reshape(
                tf.pad(tf.reshape(w, [-1, 4, units]), [[0, 0], [0, 0], [0, padding]]),
                [-1, 4 * (units + padding)],
            )
            for w in (kernel, recurrent_kernel, bias)
        )
        recurrent_kernel = tf.pad(recurrent_kernel, [[0, padding], [0, 0]])
        hidden, cell = (tf.pad(state, [[0, 0], [0, padding]]) for state in (hidden, cell))
    found = _run_padded(
        inputs, kernel, recurrent_kernel, tf.reshape(bias, [-1]), hidden, cell, mask, reverse
    )
    return [values[..., :units] for values in found] if padding else found


def _run_padded(inputs, kernel, recurrent_kernel, bias, hidden, cell, mask, reverse):
    """As `run`, for units that fill whole vectors."""
    from common import lstm_kernel

    units = hidden.shape[-1]
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

    @tf.custom_gradient
    def lstm(inputs, kernel, recurrent_kernel, bias, hidden, cell):
        packed = pack(inputs)
        gates, hiddens, cells, last_hidden, last_cell = _call(
            functools.partial(lstm_kernel.forward, reverse=reverse),
            [packed, starts, lengths, kernel, recurrent_kernel, bias, hidden, cell],
            sizes=[4 * units, units, units, units, units],
        )

        def gradient(doutputs, dlast_hidden, dlast_cell):
            sums, entering, dhidden, dcell = _call(
                functools.partial(lstm_kernel.backward, reverse=reverse),
                [
                    *(starts, lengths, recurrent_kernel, hidden, cell, gates, hiddens, cells),
                    *(pack(doutputs), dlast_hidden, dlast_cell),
                ],
                sizes=[4 * units, units, units, units],
            )
            return (
                unpack(tf.matmul(sums, kernel, transpose_b=True)),
                tf.matmul(packed, sums, transpose_a=True),
                tf.matmul(entering, sums, transpose_a=True),
                tf.reduce_sum(sums, axis=0),
                dhidden,
                dcell,
            )

        return (unpack(hiddens), last_hidden, last_cell), gradient

    return lstm(inputs, kernel, recurrent_kernel, bias, hidden, cell)


def _call(function, tensors: list, *, sizes: list[int]) -> list[tf.Tensor]:
    """Calls machine code on tensors; it gives float32 (rows, size) for each of `sizes`."""
    results = tf.numpy_function(function, tensors, len(sizes) * [tf.float32], stateful=False)
    for result, size in zip(results, sizes, strict=True):
        result.set_shape([None, size])
    return results
