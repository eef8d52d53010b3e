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
            outputs (rows, ..) and attention (rows, ..). It uses no other tensor that is to be
            trained; `product` is that of `product_with(kernels)`.
        entering: (time, rows, ..).
        states: (rows, size), before the first step.
        constants: by name, the same at all steps.
        kernels: by name, (in, out).

    Returns:
        Outputs (time, rows, ..) and attention (time, rows, ..).
    """
    names, kernel_names = list(constants), list(kernels)

    @tf.custom_gradient
    def run(entering, *flat):
        first, values, matrices = _cut(flat, len(states), len(names))
        by_name = dict(zip(names, values, strict=True))
        matrix_by_name = dict(zip(kernel_names, matrices, strict=True))
        calls = []  # the name of the kernel of each product of a step
        before, outputs, attention, products = _forward(
            advance, entering, first, by_name, matrix_by_name, calls
        )

        def gradient(doutputs, dattention):
            return _backward(
                *(advance, entering, before, by_name, matrix_by_name, calls, products),
                *(doutputs, dattention),
            )

        return (outputs, attention), gradient

    # The decorated function gives the first of the two that `run` returns.
    results: Any = run(entering, *states, *constants.values(), *kernels.values())
    return results


def _forward(advance, entering, states, constants, kernels, calls):
    """All steps; also keeps the states before each, and its products with matrices."""
    time, product = tf.shape(entering)[0], product_with(kernels)

    def step(inputs, states):
        products = []
        calls.clear()

        def recorded(values, name):
            calls.append(name)
            products.append(product(values, name))
            return products[-1]

        after, outputs, attention = advance(inputs, states, constants, recorded)
        return after, [*states, outputs, attention, *products]

    _, example = step(entering[0], states)  # how many there are
    arrays = [tf.TensorArray(tf.float32, time) for _ in example]

    def body(t, states, arrays):
        after, results = step(entering[t], states)
        pairs = zip(arrays, results, strict=True)
        return t + 1, after, [array.write(t, result) for array, result in pairs]

    _, _, arrays = tf.while_loop(
        lambda t, *_: t < time, body, (0, list(states), arrays), maximum_iterations=time
    )
    stacked = [array.stack() for array in arrays]
    before, (outputs, attention, *products) = stacked[: len(states)], stacked[len(states) :]
    return before, outputs, attention, products


def _backward(advance, entering, before, constants, kernels, calls, products, doutputs, dattention):
    """From the last step to the first; gradients in the order of the arguments of `run`."""
    time, count = tf.shape(entering)[0], len(products)

    def step(t, dstates):
        factors, looked_up = [], []

        def recorded(values, name):
            @tf.custom_gradient
            def look_up(_):
                result = tf.identity(products[len(looked_up)][t])
                return result, lambda upstream: tf.matmul(upstream, kernels[name], transpose_b=True)

            factors.append(values)
            looked_up.append(look_up(values))
            return looked_up[-1]

        sources = [entering[t], [state[t] for state in before], constants]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            after, outputs, attention = advance(*sources, recorded)
        dsources = tape.gradient(
            [after, outputs, attention],
            [*sources, looked_up],
            output_gradients=[dstates, doutputs[t], dattention[t]],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return dsources, factors

    arrays = [tf.TensorArray(tf.float32, time) for _ in range(1 + 2 * count)]
    dstates = [tf.zeros_like(state[0]) for state in before]
    dconstants = {name: tf.zeros_like(value) for name, value in constants.items()}

    def body(t, dstates, dconstants, arrays):
        (dentering, dstates, more, dproducts), factors = step(t, dstates)
        dconstants = {name: value + more[name] for name, value in dconstants.items()}
        pairs = zip(arrays, [dentering, *dproducts, *factors], strict=True)
        return t - 1, dstates, dconstants, [array.write(t, value) for array, value in pairs]

    _, dstates, dconstants, arrays = tf.while_loop(
        lambda t, *_: t >= 0, body, (time - 1, dstates, dconstants, arrays), maximum_iterations=time
    )
    dentering, *stacked = (array.stack() for array in arrays)
    dkernels = dict.fromkeys(kernels, 0.0)
    for name, dproduct, factor in zip(calls, stacked[:count], stacked[count:], strict=True):
        rows = [tf.reshape(values, [-1, values.shape[-1]]) for values in (factor, dproduct)]
        dkernels[name] += tf.matmul(*rows, transpose_a=True)
    return dentering, *dstates, *dconstants.values(), *dkernels.values()


def _cut(flat, num_states, num_constants):
    middle = num_states + num_constants
    return flat[:num_states], flat[num_states:middle], flat[middle:]
