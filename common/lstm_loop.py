"""LSTMs in TensorFlow operations that skip padding: outside training, and in exported models."""

import tensorflow as tf


def run(inputs, weights, states, mask, *, reverses) -> list:
    """As `fast_lstm.run`, arguments and results alike, but always with a mask.

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
    outputs, ends = _loop(
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


def _loop(sums, recurrents, states, counts) -> tuple[list, list]:
    """Hidden states (steps, units) in the order of `sums` (steps, 4 units), and the last states.

    `counts` int32 (time,) is how many rows, from the first on, still take each step.
    """
    time = tf.shape(counts)[0]
    begins = tf.cumsum(counts, exclusive=True)
    arrays = [
        tf.TensorArray(tf.float32, time, element_shape=[None, one.shape[0]], infer_shape=False)
        for one in recurrents
    ]

    def take(number, arrays, states):
        begin, count = begins[number], counts[number]
        new_arrays, new_states = [], []
        for array, (hidden, cell), entering, recurrent in zip(
            arrays, states, sums, recurrents, strict=True
        ):
            gates = entering[begin : begin + count] + tf.matmul(hidden[:count], recurrent)
            i, f, c, o = tf.split(gates, 4, axis=-1)
            now = tf.sigmoid(f) * cell[:count] + tf.sigmoid(i) * tf.tanh(c)
            out = tf.sigmoid(o) * tf.tanh(now)
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
