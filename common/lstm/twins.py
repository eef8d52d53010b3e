"""Gradients of gradients: what TensorFlow cannot differentiate, once more in its operations.

`layer` gives the gradient of an LSTM by a call of machine code, whose own gradient TensorFlow does
not know; nor does it know that of `BlockLSTMGrad`, the gradient of the operation in `loops`. Both
are the gradients of a twin here: slow, differentiable any number of times, and computed only where
somebody asks for them. A first gradient has no operation more.
"""

import contextlib
import functools
import itertools

import tensorflow as tf

from common.lstm.loops import in_other_order


@functools.cache
def gradient_of(name: str, reverses: tuple[bool, ...]) -> str:
    """What TensorFlow calls the gradient of a function of `kernel`."""
    twins = {"forward": forward, "infer": infer, "backward": backward}
    twin = functools.partial(twins[name], reverses=reverses)

    def gradient(operation, *upstream):
        is_float = [tensor.dtype.is_floating for tensor in operation.inputs]

        def of_floats(*floats):
            pairs, left = zip(operation.inputs, is_float, strict=True), iter(floats)
            return twin(*(next(left) if moves else tensor for tensor, moves in pairs))

        floats = list(itertools.compress(operation.inputs, is_float))
        gradients = iter(_gradients(of_floats, floats, upstream))
        return [next(gradients) if moves else None for moves in is_float]

    registered = f"cellstate LSTM {name} {reverses} {id(gradient)}"
    tf.RegisterGradient(registered)(gradient)
    return registered


def forward(inputs, starts, lengths, hidden, cell, *weights, reverses) -> list:
    """As `kernel.forward`."""
    count, number = len(reverses), len_of(inputs)
    parts = []
    for kernel, recurrent, bias, first_hidden, first_cell, reverse in zip(
        *(weights[place::3] for place in range(3)),
        tf.split(hidden, count, -1),
        tf.split(cell, count, -1),
        reverses,
        strict=True,
    ):
        place, is_real = _places(starts, lengths, number, reverse)
        sums = _by_step(tf.matmul(inputs, kernel) + bias, place)
        of_steps = _run(sums, is_real, recurrent, first_hidden, first_cell)
        packed = [_packed(values, place, is_real, number) for values in of_steps]
        parts.append([*packed, of_steps[1][-1], of_steps[2][-1]])
    return [tf.concat(part, -1) for part in zip(*parts, strict=True)]


def infer(*arguments, reverses) -> list:
    """As `kernel.infer`."""
    _, hiddens, _, *ends = forward(*arguments, reverses=reverses)
    return [hiddens, *ends]


def backward(starts, lengths, hidden, cell, gates, hiddens, cells, upstream, last_hidden, last_cell,
             *recurrent_kernels, reverses) -> list:  # fmt: skip
    """As `kernel.backward`."""
    count, number = len(reverses), len_of(hiddens)
    ends, pairs = [], []
    for recurrent, reverse, *parts in zip(
        recurrent_kernels,
        reverses,
        *(
            tf.split(values, count, -1)
            for values in (hidden, cell, gates, hiddens, cells, upstream, last_hidden, last_cell)
        ),
        strict=True,
    ):
        first_hidden, first_cell, *packed, dhidden, dcell = parts
        place, is_real = _places(starts, lengths, number, reverse)
        of_gates, of_hidden, of_cell, dout = (_by_step(values, place) for values in packed)
        entering = tf.concat([first_hidden[None], of_hidden[:-1]], 0)
        cell_before = tf.concat([first_cell[None], of_cell[:-1]], 0)
        *states, dsums = _run_back(
            of_gates, of_cell, cell_before, dout, is_real, recurrent, dhidden, dcell
        )
        ends.append([values[0] for values in states])
        pairs += [_packed(values, place, is_real, number) for values in (dsums, entering)]
    return [*(tf.concat(end, -1) for end in zip(*ends, strict=True)), *pairs]


def _gradients(function, inputs, upstream) -> list:
    """Gradients at the inputs of a function of tensors, from those at its results."""
    inputs = [tf.identity(tensor) for tensor in inputs]  # of this graph
    if not tf.executing_eagerly():  # where TensorFlow may have stopped all tapes
        return tf.gradients(function(*inputs), inputs, grad_ys=list(upstream))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        results = function(*inputs)
    return tape.gradient(results, inputs, output_gradients=list(upstream))


def len_of(values):
    """The rows, int64."""
    return tf.shape(values, tf.int64)[0]


def _places(starts, lengths, number, reverse: bool) -> tuple:
    """For each step and sequence its packed row, `number` where there is none; and if there is.

    Shapes (time, batch) and, for its use beside states, (time, batch, 1).
    """
    step = tf.range(tf.maximum(tf.reduce_max(lengths), 1))[:, None]
    is_real = step < lengths
    place = starts + (lengths - 1 - step if reverse else step)
    return tf.where(is_real, place, number), is_real[..., None]


def _by_step(values, place):
    """(steps, size) -> (time, batch, size), zeros where there is no step."""
    return tf.gather(tf.pad(values, [[0, 1], [0, 0]]), place)


def _packed(values, place, is_real, number):
    """Back again."""
    real = tf.where(is_real[..., 0])
    shape = [number, values.shape[-1]]
    return tf.scatter_nd(tf.gather_nd(place, real)[:, None], tf.gather_nd(values, real), shape)


def _run(sums, is_real, recurrent, hidden, cell) -> tuple:
    """Gates (time, batch, 4 units), hidden and cell states (time, batch, units) after each step.

    `sums` (time, batch, 4 units): what inputs and bias add, in Keras' order of the gates.
    """

    def step(before, now):
        (_, hidden, cell), (entering, real) = before, now
        i, f, c, o = tf.split(entering + tf.matmul(hidden, recurrent), 4, -1)
        i, f, c, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(c), tf.sigmoid(o)
        new = f * cell + i * c
        out = o * tf.tanh(new)
        gates = tf.concat([i, f, c, o], -1)
        return gates, tf.where(real, out, hidden), tf.where(real, new, cell)

    return tf.scan(step, (sums, is_real), (tf.zeros_like(sums[0]), hidden, cell))


def _run_back(gates, cells, cells_before, upstream, is_real, recurrent, dhidden, dcell) -> tuple:
    """Gradients at the states before each step, and at its sums; (time, batch, size)."""

    def step(after, now):
        (dhidden, dcell, _), (gates, cell, before, dout, real) = after, now
        i, f, c, o = tf.split(gates, 4, -1)
        squashed = tf.tanh(cell)
        dout += dhidden
        dnew = dcell + dout * o * (1 - squashed**2)
        di, df, dc, do = dnew * c, dnew * before, dnew * i, dout * squashed
        slopes = [di * i * (1 - i), df * f * (1 - f), dc * (1 - c**2), do * o * (1 - o)]
        dsums = tf.concat(slopes, -1)
        back = tf.matmul(dsums, recurrent, transpose_b=True)
        return tf.where(real, back, dhidden), tf.where(real, dnew * f, dcell), dsums

    of_steps = gates, cells, cells_before, upstream, is_real
    return tf.scan(step, of_steps, (dhidden, dcell, tf.zeros_like(gates[0])), reverse=True)


def _block(steps, cell, hidden, weights, bias) -> list:
    """Cell and hidden states after each step, as `BlockLSTM` for `loops`."""
    dim = steps.shape[-1]
    sums = in_other_order(tf.matmul(steps, weights[:dim]) + bias)
    sums = tf.pad(sums, [[0, 1], [0, 0], [0, 0]])  # a scan of no step would not know its shapes
    is_real = tf.ones_like(sums[..., :1], tf.bool)
    _, hiddens, cells = _run(sums, is_real, in_other_order(weights[dim:]), hidden, cell)
    return [cells[:-1], hiddens[:-1]]


def _gradient_of_block_gradient(operation, *upstream):
    """Of the operation `BlockLSTMGrad`, without peepholes, as `loops` uses it."""
    _, steps, cell, hidden, weights, _, _, _, bias, *_, dcells, dhiddens = operation.inputs
    dsteps, dcell, dhidden, dweights, _, _, _, dbias = upstream
    steps, cell, hidden, weights, bias, dcells, dhiddens = _gradients(
        lambda *inputs: _gradients(_block, inputs[:5], inputs[5:]),
        [steps, cell, hidden, weights, bias, dcells, dhiddens],
        [dsteps, dcell, dhidden, dweights, dbias],
    )
    return [None, steps, cell, hidden, weights, *3 * [None], bias, *7 * [None], dcells, dhiddens]


with contextlib.suppress(KeyError):  # a TensorFlow that knows it, or a second import
    tf.RegisterGradient("BlockLSTMGrad")(_gradient_of_block_gradient)
