"""A loop over time that trains fast: the gradients of its matrices are made after it, all at once.

A loop that TensorFlow differentiates by itself keeps every intermediate result of every step, and
adds to the gradient of every matrix at each step. Here the products with matrices are kept, all
else of a step is computed again when its gradient is needed, and a matrix gets its gradient in one
product over all steps.
"""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

Product = Callable[[tf.Tensor, str], tf.Tensor]


def product_with(kernels: Mapping[str, tf.Tensor]) -> Product:
    """`product(values (rows, in), name)`: the values times the kernel (in, out) of that name."""
    return lambda values, name: tf.matmul(values, kernels[name])


def scan(
    advance: Callable,
    entering: tf.Tensor,
    states: list[tf.Tensor],
    constants: Mapping[str, tf.Tensor],
    kernels: Mapping[str, tf.Tensor],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Runs `advance` over time.

    Args:
        advance: `advance(entering (rows, ..), states, constants, product)` gives the new states,
            what is seen (rows, ..) and attention (rows, ..). It uses no other tensor that is to be
            trained; `product` is that of `product_with(kernels)`.
        entering: (time, rows, ..).
        states: (rows, size), before the first step.
        constants: by name, the same at all steps.
        kernels: by name, (in, out).

    Returns:
        What was seen, (time, rows, ..), and attention, (time, rows, ..).
    """
    names, kernel_names = list(constants), list(kernels)

    @tf.custom_gradient
    def run(entering, *flat):
        first, values, matrices = _cut(flat, len(states), len(names))
        given = dict(zip(names, values, strict=True))
        by_name = dict(zip(kernel_names, matrices, strict=True))
        calls = []  # the name of the kernel of each product of a step
        before, seen, looked, made = _forward(advance, entering, first, given, by_name, calls)

        def gradient(dseen, dlooked):
            return _backward(advance, entering, before, given, by_name, calls, made, dseen, dlooked)

        return (seen, looked), gradient

    # The decorated function gives the first of the two that `run` returns.
    found: Any = run(entering, *states, *constants.values(), *kernels.values())
    return found


def _forward(advance, entering, states, constants, kernels, calls):
    """All steps; also keeps the states before each, and its products with matrices."""
    time, product = tf.shape(entering)[0], product_with(kernels)

    def one_step(now, states):
        made = []
        calls.clear()

        def kept(values, name):
            calls.append(name)
            made.append(product(values, name))
            return made[-1]

        after, seen, looked = advance(now, states, constants, kept)
        return after, [*states, seen, looked, *made]

    _, shown = one_step(entering[0], states)  # how many there are
    arrays = [tf.TensorArray(tf.float32, time) for _ in shown]

    def body(t, states, arrays):
        after, kept = one_step(entering[t], states)
        return t + 1, after, [array.write(t, one) for array, one in zip(arrays, kept, strict=True)]

    _, _, arrays = tf.while_loop(
        lambda t, *_: t < time, body, (0, list(states), arrays), maximum_iterations=time
    )
    stacked = [array.stack() for array in arrays]
    before, (seen, looked, *made) = stacked[: len(states)], stacked[len(states) :]
    return before, seen, looked, made


def _backward(advance, entering, before, constants, kernels, calls, made, dseen, dlooked):
    """From the last step to the first; gradients in the order of the arguments of `run`."""
    time, count = tf.shape(entering)[0], len(made)

    def one_step(t, dstates):
        factors, products = [], []

        def known(values, name):
            @tf.custom_gradient
            def look_up(_):
                kept = tf.identity(made[len(products)][t])
                return kept, lambda dkept: tf.matmul(dkept, kernels[name], transpose_b=True)

            factors.append(values)
            products.append(look_up(values))
            return products[-1]

        sources = [entering[t], [state[t] for state in before], constants]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            after, seen, looked = advance(*sources, known)
        dsources = tape.gradient(
            [after, seen, looked],
            [*sources, products],
            output_gradients=[dstates, dseen[t], dlooked[t]],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return dsources, factors

    arrays = [tf.TensorArray(tf.float32, time) for _ in range(1 + 2 * count)]
    dstates = [tf.zeros_like(state[0]) for state in before]
    dconstants = {name: tf.zeros_like(one) for name, one in constants.items()}

    def body(t, dstates, dconstants, arrays):
        (dentering, dstates, more, dmade), factors = one_step(t, dstates)
        dconstants = {name: one + more[name] for name, one in dconstants.items()}
        kept = [dentering, *dmade, *factors]
        arrays = [array.write(t, one) for array, one in zip(arrays, kept, strict=True)]
        return t - 1, dstates, dconstants, arrays

    _, dstates, dconstants, arrays = tf.while_loop(
        lambda t, *_: t >= 0, body, (time - 1, dstates, dconstants, arrays), maximum_iterations=time
    )
    dentering, *stacked = (array.stack() for array in arrays)
    dkernels = dict.fromkeys(kernels, 0.0)
    for name, dmade, factors in zip(calls, stacked[:count], stacked[count:], strict=True):
        rows = [tf.reshape(one, [-1, one.shape[-1]]) for one in (factors, dmade)]
        dkernels[name] += tf.matmul(*rows, transpose_a=True)
    return dentering, *dstates, *dconstants.values(), *dkernels.values()


def _cut(flat, num_states, num_constants):
    middle = num_states + num_constants
    return flat[:num_states], flat[num_states:middle], flat[middle:]
