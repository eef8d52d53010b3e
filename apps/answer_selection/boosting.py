"""Fits the trees of combination.py with scikit-learn; training alone needs it."""

from collections.abc import Sequence

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from apps.answer_selection.combination import LIMIT, Trees

NUM_TREES, DEPTH, LEARNING_RATE = 100, 3, 0.05
SUBSAMPLE = 0.5  # pairs that a tree is fitted on, drawn anew for each
LEAST_IN_LEAF = 20


class LinearStart:
    """A logistic regression of standardised signals, in double precision throughout.

    `init` of scikit-learn's boosting. Its own estimators would compute in the single precision of
    the signals they are given.
    """

    def fit(self, signals: np.ndarray, labels: np.ndarray, sample_weight: np.ndarray):
        """Signals float (pairs, signals), labels int (pairs,), weights float (pairs,)."""
        signals = signals.astype("float64")
        mean, deviation = signals.mean(axis=0), signals.std(axis=0)
        deviation[deviation < 1e-9] = 1.0  # a signal that never changes
        model = LogisticRegression(max_iter=1000)
        model.fit((signals - mean) / deviation, labels, sample_weight=sample_weight)
        self.coefficients = model.coef_[0] / deviation
        self.intercept = float(model.intercept_[0] - mean @ self.coefficients)
        return self

    def predict_proba(self, signals: np.ndarray) -> np.ndarray:
        """Probabilities of wrong and right, float64 (pairs, 2)."""
        log_odds = signals.astype("float64") @ self.coefficients + self.intercept
        right = 1 / (1 + np.exp(-np.clip(log_odds, -LIMIT, LIMIT)))
        return np.stack([1 - right, right], axis=1)


def fit(
    signals: np.ndarray, labels: np.ndarray, questions: Sequence[object], *, seed: int
) -> GradientBoostingClassifier:
    """Boosts trees on pairs of a question and a candidate.

    Every question counts the same, and of it the right candidates as much as the wrong ones.

    Args:
        signals: float32 (pairs, signals).
        labels: int (pairs,), 1 = answers the question; both kinds must occur.
        questions: of each pair, anything that tells its question from others.
        seed: decides the draws.
    """
    kinds = np.stack([np.unique(np.asarray(questions), return_inverse=True)[1], labels], axis=1)
    _, kind, counts = np.unique(kinds, axis=0, return_inverse=True, return_counts=True)
    weights = 1 / counts[kind.reshape(-1)]
    boosted = GradientBoostingClassifier(
        init=LinearStart(),
        n_estimators=NUM_TREES,
        max_depth=DEPTH,
        learning_rate=LEARNING_RATE,
        subsample=SUBSAMPLE,
        min_samples_leaf=LEAST_IN_LEAF,
        random_state=seed,
    )
    return boosted.fit(signals, labels, sample_weight=weights / weights.mean())


def as_trees(boosted: GradientBoostingClassifier) -> Trees:
    """The nodes of all trees in one row, in the order of scikit-learn."""
    trees = [one.tree_ for one in boosted.estimators_[:, 0]]
    roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]
    columns: list[tuple[np.ndarray, ...]] = []
    for root, tree in zip(roots, trees, strict=True):
        is_leaf = tree.children_left < 0
        own = root + np.arange(tree.node_count)
        columns.append(
            (
                np.where(is_leaf, 0, tree.feature),
                np.where(is_leaf, 0.0, tree.threshold),
                np.where(is_leaf, own, root + tree.children_left),
                np.where(is_leaf, own, root + tree.children_right),
                np.where(is_leaf, boosted.learning_rate * tree.value[:, 0, 0], 0.0),
            )
        )
    rows = [tuple(np.concatenate(parts).tolist()) for parts in zip(*columns, strict=True)]
    start = boosted.init_
    assert isinstance(start, LinearStart)
    return Trees(
        start.intercept,
        tuple(start.coefficients.tolist()),
        max(tree.max_depth for tree in trees),
        tuple(roots.tolist()),
        *rows,
    )
