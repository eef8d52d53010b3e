"""Rivals without memory: the commonest phone, and logistic regression on one frame.

Each is a function from the normalised features of an utterance, (frames, dim), to logits (frames,
choices), which are decoded as the network's are.
"""

from collections.abc import Callable, Iterable

import numpy as np
from sklearn.linear_model import LogisticRegression

MOST_FRAMES = 40_000  # of training, evenly spread
Rival = Callable[[np.ndarray], np.ndarray]


def fit(
    utterances: Iterable[tuple[np.ndarray, np.ndarray]], *, num_phones: int, num_frames: int
) -> dict[str, Rival]:
    """Fits the rivals.

    Args:
        utterances: normalised features (frames, dim) and classes int (frames,), -1 = none, of the
            training part.
        num_phones: classes.
        num_frames: of all utterances.
    """
    step = -(-num_frames // MOST_FRAMES)
    kept, classes = [], []
    for features, phone_ids in utterances:
        places = np.flatnonzero(phone_ids >= 0)[::step]
        kept.append(features[places])
        classes.append(phone_ids[places])
    inputs, target = np.concatenate(kept), np.concatenate(classes)
    one_frame = LogisticRegression(max_iter=200, tol=1e-3).fit(inputs, target)
    commonest = np.log(np.bincount(target, minlength=num_phones) + 1e-3)

    def logistic_regression(features: np.ndarray) -> np.ndarray:
        # A phone that the sampled frames lack gets next to none.
        found = np.full((len(features), num_phones), -20.0)
        found[:, one_frame.classes_] = np.log(one_frame.predict_proba(features) + 1e-9)
        return found

    return {
        "majority": lambda features: np.tile(commonest, (len(features), 1)),
        "logistic_regression": logistic_regression,
    }
