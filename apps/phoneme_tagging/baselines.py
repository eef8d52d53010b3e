"""Rivals without memory: the commonest phone, logistic regression on a frame, a network on ten.

Each is a function from the features of an utterance, (frames, dim), to logits (frames, choices),
which are decoded as the network's are.
"""

import warnings
from collections.abc import Callable, Iterable

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

MOST_FRAMES = 40_000  # of training, evenly spread
WINDOW = 10  # frames, as of Graves & Schmidhuber (2005)
Rival = Callable[[np.ndarray], np.ndarray]


def fit(
    utterances: Iterable[tuple[np.ndarray, np.ndarray]], *, num_phones: int, num_frames: int
) -> dict[str, Rival]:
    """Fits the rivals.

    Args:
        utterances: features (frames, dim) and classes int (frames,), -1 = none, of the training
            part.
        num_phones: classes.
        num_frames: of all utterances.
    """
    step = -(-num_frames // MOST_FRAMES)
    kept, classes = [], []
    for features, phone_ids in utterances:
        places = np.flatnonzero(phone_ids >= 0)[::step]
        kept.append(windows(features, WINDOW)[places])
        classes.append(phone_ids[places])
    inputs, target = np.concatenate(kept), np.concatenate(classes)
    commonest = np.log(np.bincount(target, minlength=num_phones) + 1e-3)
    one_frame = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200, tol=1e-3))
    middle = (WINDOW - 1) // 2
    one_frame.fit(inputs[:, middle], target)
    perceptron = MLPClassifier(
        128, batch_size=256, max_iter=15, early_stopping=True, n_iter_no_change=3
    )
    perceptron.set_params(random_state=1, validation_fraction=0.05)
    ten_frames = make_pipeline(StandardScaler(), perceptron)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # no more epochs are wanted
        ten_frames.fit(inputs.reshape(len(inputs), -1), target)

    def logits(model, inputs: np.ndarray) -> np.ndarray:
        # A phone that the sampled frames lack gets next to none.
        found = np.full((len(inputs), num_phones), -20.0)
        found[:, model.classes_] = np.log(model.predict_proba(inputs) + 1e-9)
        return found

    return {
        "majority": lambda features: np.tile(commonest, (len(features), 1)),
        "logistic_regression": lambda features: logits(one_frame, features),
        "mlp_10_frames": lambda features: logits(
            ten_frames, windows(features, WINDOW).reshape(len(features), -1)
        ),
    }


def windows(features: np.ndarray, size: int) -> np.ndarray:
    """Every frame with its neighbours, the ends repeated: (frames, dim) -> (frames, size, dim)."""
    before = (size - 1) // 2
    padded = np.pad(features, [(before, size - 1 - before), (0, 0)], mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, size, axis=0).swapaxes(1, 2)
