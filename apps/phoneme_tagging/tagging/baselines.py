"""Baselines without memory: the commonest phone, logistic regression on a frame, an MLP on ten.

scikit-learn fits them, Keras holds them: features float32 (batch, WINDOW, dim), a frame with its
neighbours -> a dict of logits (batch, choices), which are decoded as the network's are.
"""

import warnings
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

FILE = "baselines.keras"
MAX_FRAMES = 40_000  # of training, evenly spread
WINDOW = 10  # frames, as of Graves & Schmidhuber (2005)
MIDDLE = (WINDOW - 1) // 2
HIDDEN = 128


def fit(
    utterances: Iterable[tuple[np.ndarray, np.ndarray]], *, num_phones: int, num_frames: int
) -> keras.Model:
    """Fits the baselines to features (frames, dim) and classes int (frames,), -1 = none."""
    step = -(-num_frames // MAX_FRAMES)
    inputs, targets = [], []
    for features, phone_ids in utterances:
        places = np.flatnonzero(phone_ids >= 0)[::step]
        inputs.append(windows(features)[places])
        targets.append(phone_ids[places])
    frames, target = np.concatenate(inputs), np.concatenate(targets)
    middle, flat = frames[:, MIDDLE], frames.reshape(len(frames), -1)
    scalers = StandardScaler().fit(middle), StandardScaler().fit(flat)
    logistic = LogisticRegression(max_iter=200, tol=1e-3)
    perceptron = MLPClassifier(
        HIDDEN,
        batch_size=256,  # pyright: ignore[reportArgumentType]
        max_iter=15,
        early_stopping=True,
        n_iter_no_change=3,
        random_state=1,
        validation_fraction=0.05,
    )
    logistic.fit(scalers[0].transform(middle), target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # no more epochs are wanted
        perceptron.fit(scalers[1].transform(flat), target)

    commonest = np.log(np.bincount(target, minlength=num_phones) + 1e-3)
    first, last = zip(perceptron.coefs_, perceptron.intercepts_, strict=True)
    window = keras.Input((WINDOW, frames.shape[-1]), name="features")
    frame, row = window[:, MIDDLE], ops.reshape(window, (-1, flat.shape[1]))
    of_frame = _unscaled(logistic.coef_.T, logistic.intercept_, scalers[0])
    hidden = _dense(row, *_unscaled(*first, scalers[1]), activation="relu")
    classes = logistic.classes_
    outputs = {
        "majority": _dense(frame, np.zeros((middle.shape[1], num_phones)), commonest),
        "logistic_regression": _dense(frame, *_of_all(*of_frame, classes, num_phones)),
        "mlp_10_frames": _dense(hidden, *_of_all(*last, classes, num_phones)),
    }
    # The least probability keeps a sure and wrong answer from ruling out a path.
    return keras.Model(
        window, {name: ops.log(ops.softmax(logits) + 1e-9) for name, logits in outputs.items()}
    )


def _dense(inputs, kernel: np.ndarray, bias: np.ndarray, activation: str | None = None):
    layer = keras.layers.Dense(len(bias), activation)
    outputs = layer(inputs)
    layer.set_weights([kernel, bias])
    return outputs


def _unscaled(kernel: Any, bias: Any, scaler: Any) -> tuple[np.ndarray, np.ndarray]:
    """The layer that does to features what this one does to scaled features."""
    kernel = kernel / scaler.scale_[:, None]
    return kernel, bias - scaler.mean_ @ kernel


def _of_all(kernel: np.ndarray, bias: np.ndarray, classes: np.ndarray, num_phones: int):
    """The output layer for all phones; those that the sampled frames lack get next to none."""
    if len(classes) == 2:  # scikit-learn has a single output then
        kernel, bias = np.hstack([0 * kernel, kernel]), np.append(0, bias)
    of_all = np.zeros((len(kernel), num_phones)), np.full(num_phones, -1e4)
    of_all[0][:, classes], of_all[1][classes] = kernel, bias
    return of_all


def logits(model: keras.Model, features: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    """What the baselines say of a batch: name -> float32 (batch, frames, choices).

    Features are float32 (batch, frames, dim); mask bool (batch, frames), True = real, on the left.
    """
    rows = [windows(row[real]) for row, real in zip(features, mask, strict=True)]
    padded = {}
    for name, values in model.predict_on_batch(np.concatenate(rows)).items():
        padded[name] = np.zeros((*mask.shape, values.shape[-1]), np.float32)
        padded[name][mask] = values
    return padded


def windows(features: np.ndarray) -> np.ndarray:
    """Frames with their neighbours, the ends repeated: (frames, dim) -> (frames, WINDOW, dim)."""
    padded = np.pad(features, [(MIDDLE, WINDOW - 1 - MIDDLE), (0, 0)], mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=0).swapaxes(1, 2)
