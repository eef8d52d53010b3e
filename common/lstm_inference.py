"""LSTMs outside training, and in exported models: in TensorFlow operations, skipping padding.

A sequence or two go through one operation of TensorFlow, in which a loop of small operations takes
several times as long. For many at a time the loop is faster: its matrix product is then
TensorFlow's best, this operation's is not.
"""

import contextvars
from collections.abc import Callable

import tensorflow as tf

from common import lstm_loop

converting: contextvars.ContextVar[Callable | None] = contextvars.ContextVar(
    "converting", default=None
)
"""What runs in place of `run` while a graph for another runtime is made (lstm_portable.py)."""
MOST_SEQUENCES = 4  # in a batch; 8 take longer in the operation than in the loop


def run(inputs, weights, states, mask, *, reverses) -> list:
    """As `fast_lstm.run`, arguments and results alike."""
    portable = converting.get()
    if portable is not None:
        return portable(inputs, weights, states, mask, reverses=reverses)

    def few() -> list:
        return run_few(inputs, weights, states, mask, reverses=reverses)

    def many() -> list:
        is_real = tf.ones(tf.shape(inputs)[:2], tf.bool) if mask is None else mask
        return lstm_loop.run(inputs, weights, states, is_real, reverses=reverses)

    if inputs.dtype != tf.float32:
        return many()
    number = tf.shape(inputs)[0]  # 0 in the share of a worker
    outputs, hidden, cell = tf.cond((number > 0) & (number <= MOST_SEQUENCES), few, many)
    # What is known of the shapes: the loop of a layer above takes no wider ones than its states'.
    units = sum(pair[0].shape[-1] for pair in states)
    outputs.set_shape([*inputs.shape[:2], units])
    for end in (hidden, cell):
        end.set_shape([inputs.shape[0], units])
    return [outputs, hidden, cell]


def run_few(inputs, weights, states, mask, *, reverses) -> list:
    """As `run`, always through the one operation."""
    found = [
        _run_one(inputs, *one, mask, reverse=reverse)
        for *one, reverse in zip(weights, states, reverses, strict=True)
    ]
    return [tf.concat(parts, axis=-1) for parts in zip(*found, strict=True)]


def _run_one(sequences, weights, states, mask, *, reverse: bool) -> tuple:
    """Outputs, zero at padding; last hidden and last cell states, of no real step those given."""
    if mask is None:
        steps = tf.transpose(sequences, [1, 0, 2])
        steps = tf.reverse(steps, [0]) if reverse else steps
        outputs, cells = _all_steps(steps, weights, states)
        made = tf.reverse(outputs[1:], [0]) if reverse else outputs[1:]
        return tf.transpose(made, [1, 0, 2]), outputs[-1], cells[-1]
    batch, time = tf.unstack(tf.shape(sequences)[:2])
    real = tf.cast(tf.where(mask), tf.int32)  # (steps, 2), sequence by sequence
    counts = tf.cast(mask, tf.int32)
    lengths = tf.reduce_sum(counts, axis=1)
    # The real steps of each sequence are moved to its start, in the order of their reading.
    order = tf.gather_nd(tf.cumsum(counts, axis=1, exclusive=True, reverse=reverse), real)
    place = tf.stack([order, real[:, 0]], axis=1)
    shape = [tf.reduce_max(lengths), batch, sequences.shape[-1]]
    steps = tf.scatter_nd(place, tf.gather_nd(sequences, real), shape)
    outputs, cells = _all_steps(steps, weights, states)
    last = tf.stack([lengths, tf.range(batch)], axis=1)
    made = tf.gather_nd(outputs, place + tf.constant([1, 0]))
    return (
        tf.scatter_nd(real, made, [batch, time, outputs.shape[-1]]),
        tf.gather_nd(outputs, last),
        tf.gather_nd(cells, last),
    )


def _all_steps(steps, weights, states) -> tuple:
    """Hidden and cell states from the start on: (1 + time, batch, units)."""
    kernel, recurrent, bias = weights
    hidden, cell = states
    peephole = tf.zeros_like(recurrent[:, 0])  # not used, but asked for
    # BlockLSTMV2 has the gates in the order of Keras, but wrong gradients (TensorFlow 2.21).
    found = tf.raw_ops.BlockLSTM(
        seq_len_max=tf.shape(steps, tf.int64)[0],
        x=steps,
        cs_prev=cell,
        h_prev=hidden,
        w=_in_its_order(tf.concat([kernel, recurrent], 0)),
        wci=peephole,
        wcf=peephole,
        wco=peephole,
        b=_in_its_order(bias),
        forget_bias=0.0,
        cell_clip=-1.0,
        use_peephole=False,
    )
    return tuple(
        tf.concat([start[None], values], 0)
        for start, values in ((hidden, found.h), (cell, found.cs))
    )


def _in_its_order(weights):
    """From Keras' input, forget, candidate, output gate to input, candidate, forget, output."""
    i, f, c, o = tf.split(weights, 4, axis=-1)
    return tf.concat([i, c, f, o], axis=-1)
