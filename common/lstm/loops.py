"""LSTMs outside training and in exported models: TensorFlow operations that skip padding.

Up to MOST_SEQUENCES sequences go through one operation of TensorFlow (`run_few`): a loop of small
operations takes longer for them. More go through a loop, whose matrix product is faster than that
of the operation: with a mask through `run_many`, which skips padding, and without one through
`run_whole`, which has nothing to skip. `converting` gives the same results in the operations of
other runtimes, for the graphs that `common.export.conversion` makes.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import tensorflow as tf

MOST_SEQUENCES = 2  # in a batch; on AVX2 four take longer in the operation than in the loop
_replacement: contextvars.ContextVar[Callable | None] = contextvars.ContextVar(
    "replacement", default=None
)  # of `run`, see `converting`


@contextlib.contextmanager
def converting(runtime: str) -> Iterator[None]:
    """Graphs traced inside have LSTMs that can be converted for "onnx" or "litert"."""
    token = _replacement.set({"onnx": _run_for_onnx, "litert": _run_for_litert}[runtime])
    try:
        yield
    finally:
        _replacement.reset(token)


def is_converting() -> bool:
    """Whether `converting` is open."""
    return _replacement.get() is not None


def run(inputs, weights, states, mask, *, reverses) -> list:
    """As `layer.run`, arguments and results alike."""
    replacement = _replacement.get()
    if replacement is not None:
        return replacement(inputs, weights, states, mask, reverses=reverses)

    def few() -> list:
        return run_few(inputs, weights, states, mask, reverses=reverses)

    def many() -> list:
        if mask is None:
            return run_whole(inputs, weights, states, reverses=reverses)
        return run_many(inputs, weights, states, mask, reverses=reverses)

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
    results = [
        _run_one(inputs, parts, start, mask, reverse=reverse)
        for parts, start, reverse in zip(weights, states, reverses, strict=True)
    ]
    return [tf.concat(parts, axis=-1) for parts in zip(*results, strict=True)]


def _run_one(sequences, weights, states, mask, *, reverse: bool) -> tuple:
    """Outputs, zero at padding; last hidden and cell states, of no real step the initial ones."""
    if mask is None:
        steps = tf.transpose(sequences, [1, 0, 2])
        steps = tf.reverse(steps, [0]) if reverse else steps
        outputs, cells = _all_steps(steps, weights, states)
        in_order = tf.reverse(outputs[1:], [0]) if reverse else outputs[1:]
        return tf.transpose(in_order, [1, 0, 2]), outputs[-1], cells[-1]
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
    of_steps = tf.gather_nd(outputs, place + tf.constant([1, 0]))
    return (
        tf.scatter_nd(real, of_steps, [batch, time, outputs.shape[-1]]),
        tf.gather_nd(outputs, last),
        tf.gather_nd(cells, last),
    )


def _all_steps(steps, weights, states) -> tuple:
    """Hidden and cell states from the start on: (1 + time, batch, units)."""
    kernel, recurrent, bias = weights
    hidden, cell = states
    peephole = tf.zeros_like(recurrent[:, 0])  # not used, but required
    # BlockLSTMV2 has the gates in the order of Keras, but wrong gradients (TensorFlow 2.21).
    block = tf.raw_ops.BlockLSTM(
        seq_len_max=tf.shape(steps, tf.int64)[0],
        x=steps,
        cs_prev=cell,
        h_prev=hidden,
        w=in_other_order(tf.concat([kernel, recurrent], 0)),
        wci=peephole,
        wcf=peephole,
        wco=peephole,
        b=in_other_order(bias),
        forget_bias=0.0,
        cell_clip=-1.0,
        use_peephole=False,
    )
    return tuple(
        tf.concat([start[None], values], 0)
        for start, values in ((hidden, block.h), (cell, block.cs))
    )


def in_other_order(weights):
    """From input, forget, candidate, output gate to input, candidate, forget, output; and back."""
    i, f, c, o = tf.split(weights, 4, axis=-1)
    return tf.concat([i, c, f, o], axis=-1)


def run_whole(inputs, weights, states, *, reverses) -> list:
    """As `layer.run`, arguments and results alike, but never with a mask."""
    time, dtype = tf.shape(inputs)[1], inputs.dtype
    by_step = tf.transpose(inputs, [1, 0, 2])
    steps = tf.TensorArray(dtype, time, clear_after_read=False).unstack(by_step)
    arrays = [  # with a state at the end, for sequences of no step: none has no shape
        tf.TensorArray(tf.float32, time + 1, element_shape=hidden.shape).write(time, hidden)
        for hidden, _ in states
    ]
    kernels = [tf.cast(kernel, dtype) for kernel, _, _ in weights]

    def take(number, arrays, states):
        new_arrays, new_states = [], []
        for array, kernel, (_, recurrent, bias), (hidden, cell), back in zip(
            arrays, kernels, weights, states, reverses, strict=True
        ):
            place = time - 1 - number if back else number
            step = tf.ensure_shape(steps.read(place), [None, inputs.shape[-1]])
            entering = tf.matmul(step, kernel)
            sums = tf.cast(entering, tf.float32) + tf.matmul(hidden, recurrent) + bias
            out, now = _gates(sums, cell)
            new_arrays.append(array.write(place, out))
            new_states.append([out, now])
        return number + 1, new_arrays, new_states

    _, arrays, ends = tf.while_loop(
        lambda number, *_: number < time, take, [tf.constant(0), arrays, states]
    )
    outputs = tf.concat([array.stack()[:time] for array in arrays], axis=-1)
    ends = [tf.concat(parts, axis=-1) for parts in zip(*ends, strict=True)]
    return [tf.transpose(outputs, [1, 0, 2]), *ends]


def _gates(sums, cell) -> tuple:
    """The next hidden and cell state, from the sums of the gates (…, 4 units)."""
    i, f, c, o = tf.split(sums, 4, axis=-1)
    now = tf.sigmoid(f) * cell + tf.sigmoid(i) * tf.tanh(c)
    return tf.sigmoid(o) * tf.tanh(now), now


def run_many(inputs, weights, states, mask, *, reverses) -> list:
    """As `layer.run`, arguments and results alike, but always with a mask.

    Rows are read longest first, so that step t is one product over the rows that have as many real
    steps, and all LSTMs take a step of the loop together.
    """
    lengths = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)
    order = tf.argsort(lengths, direction="DESCENDING", stable=True)
    lengths, starts = (
        tf.gather(values, order) for values in (lengths, tf.cumsum(lengths, exclusive=True))
    )
    longest = tf.maximum(tf.reduce_max(lengths), 1)
    is_read = tf.transpose(tf.sequence_mask(lengths, longest))  # (longest, batch)
    step, row = tf.unstack(tf.cast(tf.where(is_read), tf.int32), axis=1)
    real = tf.where(mask)
    places = [  # in the inputs, of the steps in the order in which they are read
        tf.gather(
            real, tf.gather(starts, row) + (tf.gather(lengths, row) - 1 - step if back else step)
        )
        for back in reverses
    ]
    sums = [
        tf.cast(tf.matmul(tf.gather_nd(inputs, place), tf.cast(kernel, inputs.dtype)), tf.float32)
        + bias
        for place, (kernel, _, bias) in zip(places, weights, strict=True)
    ]
    outputs, ends = _loop_over_rows(
        sums,
        [recurrent for _, recurrent, _ in weights],
        [[tf.gather(state, order) for state in pair] for pair in states],
        tf.reduce_sum(tf.cast(is_read, tf.int32), axis=1),
    )
    shape = tf.concat([tf.shape(mask), outputs[0].shape[-1:]], axis=0)
    spread = [
        tf.scatter_nd(place, values, tf.cast(shape, place.dtype))
        for place, values in zip(places, outputs, strict=True)
    ]
    back = tf.math.invert_permutation(order)
    hidden, cell = (
        tf.gather(tf.concat(values, axis=-1), back) for values in zip(*ends, strict=True)
    )
    return [tf.concat(spread, axis=-1), hidden, cell]


def _loop_over_rows(sums, recurrents, states, counts) -> tuple[list, list]:
    """Hidden states (steps, units) in the order of `sums` (steps, 4 units), and the last states.

    `counts` int32 (time,) is how many rows, from the first on, still take each step.
    """
    time = tf.shape(counts)[0]
    begins = tf.cumsum(counts, exclusive=True)
    arrays = [
        tf.TensorArray(tf.float32, time, element_shape=[None, units], infer_shape=False)
        for units in (recurrent.shape[0] for recurrent in recurrents)
    ]

    def take(number, arrays, states):
        begin, count = begins[number], counts[number]
        new_arrays, new_states = [], []
        for array, (hidden, cell), entering, recurrent in zip(
            arrays, states, sums, recurrents, strict=True
        ):
            share = entering[begin : begin + count]
            out, now = _gates(share + tf.matmul(hidden[:count], recurrent), cell[:count])
            new_arrays.append(array.write(number, out))
            new_states.append([_replace_first(hidden, out), _replace_first(cell, now)])
        return number + 1, new_arrays, new_states

    _, arrays, states = tf.while_loop(
        lambda number, *_: number < time, take, [tf.constant(0), arrays, states]
    )
    return [array.concat() for array in arrays], states


def _replace_first(rows, first):
    """`rows` (batch, units) with others in place of the first ones."""
    return tf.ensure_shape(tf.concat([first, rows[tf.shape(first)[0] :]], axis=0), rows.shape)


def _run_for_onnx(inputs, weights, states, mask, *, reverses) -> list:
    """One BlockLSTM a direction, which `conversion` makes ONNX's LSTM.

    The real steps of each sequence are moved to its start in the order of their reading, and its
    results are taken from these places. So neither lengths nor a reversal are left to the
    converter: tf2onnx 1.17 joins `reverse_sequence`, an LSTM and `reverse_sequence` to one LSTM
    that reads backwards, and loses the lengths without a word.
    """
    return run_few(inputs, weights, states, mask, reverses=reverses)


def _run_for_litert(inputs, weights, states, mask, *, reverses) -> list:
    """A loop over the steps of one sequence: LiteRT asks for the number of rows beforehand."""
    results = []
    for (kernel, recurrent, bias), pair, reverse in zip(weights, states, reverses, strict=True):
        sums = tf.matmul(inputs[0], kernel) + bias  # (time, 4 units)
        real = tf.ones_like(sums[:, :1], tf.bool) if mask is None else mask[0][:, None]
        first = [tf.reshape(state, [1, recurrent.shape[0]]) for state in pair]
        results.append(_loop_over_steps(sums, real, recurrent, first, reverse=reverse))
    return [tf.concat(parts, axis=-1) for parts in zip(*results, strict=True)]


def _loop_over_steps(sums, real, recurrent, states, *, reverse: bool) -> tuple:
    """Outputs (1, time, units), zero at padding, and the last states, (1, units)."""
    time, units = tf.shape(sums)[0], recurrent.shape[0]
    outputs = tf.TensorArray(tf.float32, time, element_shape=[1, units])

    def body(number, hidden, cell, outputs):
        t = time - 1 - number if reverse else number
        out, now = _gates(sums[t][None] + tf.matmul(hidden, recurrent), cell)
        is_real = real[t][None]
        outputs = outputs.write(t, tf.where(is_real, out, tf.zeros_like(out)))
        return number + 1, tf.where(is_real, out, hidden), tf.where(is_real, now, cell), outputs

    _, hidden, cell, outputs = tf.while_loop(
        lambda number, *_: number < time, body, (tf.constant(0), *states, outputs)
    )
    return tf.transpose(outputs.stack(), [1, 0, 2]), hidden, cell
