"""What stands before and in place of the recurrent layers: normalisation, delay, a window."""

from typing import NamedTuple

import keras
import numpy as np
from keras import ops


class Normalization(NamedTuple):
    """Mean and variance of the features in training, float32 (dim,)."""

    mean: np.ndarray
    variance: np.ndarray


def normalize(features, frame_mask, normalization: Normalization | None, *, noise: float):
    """Features of mean 0 and variance 1, zeros at padded frames.

    Args:
        features: float32 (batch, frames, dim).
        frame_mask: bool (batch, frames), True = real.
        normalization: of training; None takes those of the real frames of each utterance.
        noise: standard deviation of what is added to the result in training.
    """
    weight = ops.cast(frame_mask, "float32")[..., None]
    if normalization is None:
        count = ops.maximum(ops.sum(weight, axis=1, keepdims=True), 1.0)
        centred = features - ops.sum(weight * features, axis=1, keepdims=True) / count
        variance = ops.sum(weight * centred**2, axis=1, keepdims=True) / count
        # Digital silence has no variance at all.
        normalized = centred / ops.sqrt(variance + 1e-3)
    else:
        normalized = keras.layers.Normalization(
            mean=normalization.mean, variance=normalization.variance, name="normalize"
        )(features)
    if noise:
        normalized = keras.layers.GaussianNoise(noise, name="noise")(normalized)
    return normalized * weight


def wait(normalized, frame_mask, delay: int):
    """Lets `delay` frames of zeros follow each utterance, so that late answers find room."""
    if not delay:
        return normalized, frame_mask
    # As real as the frames: the mask of each row grows by `delay`, on whichever side it is put.
    more = ops.repeat(ops.ones_like(frame_mask[:, :1]), delay, axis=1)
    zeros = ops.repeat(ops.zeros_like(normalized[:, :1]), delay, axis=1)
    return (
        ops.concatenate([normalized, zeros], axis=1),
        ops.concatenate([more, frame_mask], axis=1),
    )


def window_network(
    normalized, frame_mask, *, window: int, units: int, num_layers: int, dropout: float
):
    """A multilayer perceptron that is moved over the frames; zeros lie beyond both ends.

    Shapes: (batch, frames, dim), bool (batch, frames) -> (batch, frames, units). Frame t sees
    `window` frames, from t - (window - 1) // 2 on.
    """
    encoded = normalized
    for number in range(num_layers):
        encoded = keras.layers.Dropout(dropout, name=f"dropout_{number}")(encoded)
        encoded = keras.layers.Conv1D(
            units,
            window if number == 0 else 1,
            padding="same",
            activation="tanh",
            name=f"window_{number}",
        )(encoded)
    return encoded * ops.cast(frame_mask, "float32")[..., None]
