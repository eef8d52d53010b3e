"""Do gradients vanish or explode on their way back through time? Toys that show it in seconds.

Hochreiter 1991, Bengio et al. 1994 (https://doi.org/10.1109/72.279181); clipping: Pascanu et al.
2013 (https://arxiv.org/abs/1211.5063). `gain` multiplies the recurrent weights at the start, which
are orthogonal: with 1 they turn the state and keep its length.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from benchmarks import long_lag
from common.layers import inspection, recurrent
from common.plots import figures


class Course(NamedTuple):
    """A training step by step: the loss, and the norm of its gradient before any clipping."""

    losses: np.ndarray
    norms: np.ndarray


def make_layer(cell: str, *, gain: float, units: int, seed: int) -> keras.layers.RNN:
    """A layer by a name in `recurrent.CELLS` that reads two numbers a step."""
    keras.utils.set_random_seed(seed)
    layer = recurrent.make_layer(cell, units)
    layer.build((None, None, 2))
    layer.cell.recurrent_kernel.assign(gain * layer.cell.recurrent_kernel)
    return layer


def over_lag(layer: keras.layers.RNN, *, lag: int = 100, seed: int = 1) -> np.ndarray:
    """How strongly a state affects the last output, by steps between: (lag + 1,), 0 steps first.

    On random signs, see `inspection.gradient_norms`; 1 at 0 steps.
    """
    values, _ = long_lag.make_batch("latch", np.random.default_rng(seed), lag=lag, batch=64)
    norms = inspection.gradient_norms(layer, values).numpy()[::-1]
    return norms / norms[0]


def draw(
    path: Path, *, gains: Sequence[float] = (1, 2), lag: int = 100, units: int = 32, seed: int = 1
) -> dict[str, float]:
    """Draws `over_lag` of random weights for three cells, and for an LSTM with slow gates.

    Returns:
        "cell, gain" -> what is left of the gradient after `lag` steps.
    """
    figure, remainders = figures.start(path, size=(5 * len(gains), 3.8)), {}
    panels = np.atleast_1d(figure.subplots(1, len(gains), sharey=True))
    for axis, gain in zip(panels, gains, strict=True):
        for cell in ("elman", "gru", "lstm", "lstm, slow gates"):
            layer = make_layer(cell.split(",")[0], gain=gain, units=units, seed=seed)
            if "slow" in cell:
                long_lag.slow_gates(layer, np.random.default_rng(seed), lag=lag)
            norms = over_lag(layer, lag=lag, seed=seed)
            axis.semilogy(np.where(norms > 0, norms, np.nan), label=cell)
            remainders[f"{cell}, gain {gain}"] = float(norms[-1])
        axis.set_title(f"recurrent weights times {gain}", fontsize=10)
        axis.set_xlabel("steps back in time")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("|d last output / d state|, 1 at the end")
    panels[0].set_ylim(1e-12, 1e12)
    panels[-1].legend(frameon=False)
    figures.finish(figure, title=f"What is left of the gradient after {lag} steps", path=path)
    return remainders


def train_latch(
    cell: str,
    *,
    gain: float,
    clip_norm: float | None,
    lag: int = 50,
    steps: int = 150,
    learning_rate: float = 0.1,
    seed: int = 1,
) -> Course:
    """Trains the latch of `long_lag` with plain gradient descent, which a large step can ruin.

    Args:
        cell: a name in `recurrent.CELLS`.
        gain: see the module.
        clip_norm: gradients are scaled down to this norm; None leaves them as they are.
        lag: steps between the marked sign and the end.
        steps: of training; it ends early when the loss is no number.
        learning_rate: of gradient descent.
        seed: of weights and data.
    """
    layer = make_layer(cell, gain=gain, units=32, seed=seed)
    inputs = keras.Input((None, 2))
    model = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs)))
    optimizer = keras.optimizers.SGD(learning_rate, global_clipnorm=clip_norm)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(signs, marked):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(signs, training=True) - marked) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss, tf.linalg.global_norm(gradients)

    random, rows = np.random.default_rng(seed), []
    while len(rows) < steps and np.isfinite(rows).all():
        rows.append([float(value) for value in step(*_batch(random, lag))])
    return Course(*np.array(rows).T)


def _batch(random: np.random.Generator, lag: int) -> list[tf.Tensor]:
    return [tf.constant(part) for part in long_lag.make_batch("latch", random, lag=lag, batch=32)]
