"""LSTMs in the operations of other runtimes, for the graphs that `conversion` makes.

Both give what `lstm_inference.run` gives, whose arguments they take.
"""

import contextlib
from collections.abc import Callable, Iterator

import tensorflow as tf

from common import lstm_inference


@contextlib.contextmanager
def traced(run: Callable) -> Iterator[None]:
    """Graphs that are traced meanwhile have `run` in the place of `lstm_inference.run`."""
    token = lstm_inference.converting.set(run)
    try:
        yield
    finally:
        lstm_inference.converting.reset(token)


def for_onnx(inputs, weights, states, mask, *, reverses) -> list:
    """One BlockLSTM a direction, which `conversion` makes ONNX's LSTM.

    The real steps of each sequence are moved to its start in the order of their reading, and its
    results are taken from these places. So neither lengths nor a reversal are left to the
    converter: tf2onnx 1.17 joins `reverse_sequence`, an LSTM and `reverse_sequence` to one LSTM
    that reads backwards, and loses the lengths without a word.
    """
    return lstm_inference.run_few(inputs, weights, states, mask, reverses=reverses)


def for_litert(inputs, weights, states, mask, *, reverses) -> list:
    """A loop over the steps of one sequence: LiteRT asks for the number of rows beforehand."""
    found = []
    for (kernel, recurrent, bias), pair, reverse in zip(weights, states, reverses, strict=True):
        sums = tf.matmul(inputs[0], kernel) + bias  # (time, 4 units)
        real = tf.ones_like(sums[:, :1], tf.bool) if mask is None else mask[0][:, None]
        first = [tf.reshape(state, [1, recurrent.shape[0]]) for state in pair]
        found.append(_loop(sums, real, recurrent, first, reverse=reverse))
    return [tf.concat(parts, axis=-1) for parts in zip(*found, strict=True)]


def _loop(sums, real, recurrent, states, *, reverse: bool) -> tuple:
    """Outputs (1, time, units), zero at padding, and the last states, (1, units)."""
    time, units = tf.shape(sums)[0], recurrent.shape[0]
    outputs = tf.TensorArray(tf.float32, time, element_shape=[1, units])

    def body(number, hidden, cell, outputs):
        t = time - 1 - number if reverse else number
        i, f, c, o = tf.split(sums[t][None] + tf.matmul(hidden, recurrent), 4, axis=-1)
        now = tf.sigmoid(f) * cell + tf.sigmoid(i) * tf.tanh(c)
        out = tf.sigmoid(o) * tf.tanh(now)
        is_real = real[t][None]
        outputs = outputs.write(t, tf.where(is_real, out, tf.zeros_like(out)))
        return number + 1, tf.where(is_real, out, hidden), tf.where(is_real, now, cell), outputs

    _, hidden, cell, outputs = tf.while_loop(
        lambda number, *_: number < time, body, (tf.constant(0), *states, outputs)
    )
    return tf.transpose(outputs.stack(), [1, 0, 2]), hidden, cell
