"""The network's score combined with the overlap of the texts, by boosted trees in TensorFlow.

    signals float32 (pairs, 1 + overlap): the network's score, then matching.pair_features
        -> score float64 (pairs,), the log-odds that the candidate answers the question

After the gradient boosted trees of Wang & Nyberg 2015, https://aclanthology.org/P15-2116.
Differs from the paper: the trees begin at a logistic regression of the signals, so that candidates
that fall into the same leaves keep the network's order. boosting.py fits both.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from common.runs import files
from common.runs.errors import UserError

NAME = "combination.json"  # in the run directory
LIMIT = 15.0  # of the log-odds at which the trees begin


class Trees(NamedTuple):
    """Regression trees, their nodes in one row, added to a linear start.

    At a node with children a pair goes left if its signal is at most the threshold, in double
    precision as in scikit-learn. A leaf is its own child on both sides.
    """

    intercept: float
    coefficients: tuple[float, ...]  # by signal
    depth: int  # steps from a root to the deepest leaf
    root: tuple[int, ...]  # the first node of each tree
    signal: tuple[int, ...]  # by node, as are those that follow
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    value: tuple[float, ...]  # of a leaf, times the learning rate; 0 elsewhere


class Moments(NamedTuple):
    """Mean and standard deviation of a network's scores over the candidates of its training.

    A loss over the candidates of a question leaves open where zero is: without these the scores of
    two networks could not be compared.
    """

    mean: float
    deviation: float

    @classmethod
    def of(cls, scores: np.ndarray) -> "Moments":
        """Of float (pairs,); a network that gives every pair one score has the deviation 1."""
        return cls(float(scores.mean(dtype="float64")), float(scores.std(dtype="float64")) or 1.0)


class Combination(NamedTuple):
    """What a run keeps: the moments of its network, and the trees."""

    moments: Moments
    trees: Trees


def apply(trees: Trees, signals: tf.Tensor) -> tf.Tensor:
    """Log-odds float64 (pairs,) for signals (pairs, signals); all trees go down side by side."""
    signals = tf.cast(tf.cast(signals, tf.float32), tf.float64)  # as scikit-learn reads them
    threshold = tf.constant(trees.threshold, tf.float64)
    left, right = tf.constant(trees.left), tf.constant(trees.right)
    signal = tf.constant(trees.signal)
    root = tf.constant(trees.root)[None]
    node = tf.tile(root, [tf.shape(signals)[0], 1])  # (pairs, trees)
    for _ in range(trees.depth):
        found = tf.gather(signals, tf.gather(signal, node), batch_dims=1)
        goes_left = found <= tf.gather(threshold, node)
        node = tf.where(goes_left, tf.gather(left, node), tf.gather(right, node))
    added = tf.reduce_sum(tf.gather(tf.constant(trees.value, tf.float64), node), axis=1)
    start = tf.linalg.matvec(signals, tf.constant(trees.coefficients, tf.float64))
    return tf.clip_by_value(start + trees.intercept, -LIMIT, LIMIT) + added


def combine(combination: Combination, score: tf.Tensor, overlap: tf.Tensor) -> tf.Tensor:
    """Scores float32 (...) of a network's scores (...) and the overlap (..., overlap) of pairs."""
    mean, deviation = combination.moments
    scaled = tf.cast((tf.cast(score, tf.float64) - mean) / deviation, tf.float32)
    signals = tf.concat([scaled[..., None], overlap], axis=-1)
    flat = apply(combination.trees, tf.reshape(signals, [-1, len(combination.trees.coefficients)]))
    return tf.cast(tf.reshape(flat, tf.shape(score)), tf.float32)


def to_json(combination: Combination) -> dict:
    """Plain numbers and lists, exact to the last bit."""
    return {name: part._asdict() for name, part in combination._asdict().items()}


def from_json(values: dict) -> Combination:
    """Reads what `to_json` gives.

    Raises:
        ValueError, TypeError, KeyError: it is something else.
    """
    trees = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values["trees"].items()
    }
    found = Combination(Moments(**values["moments"]), Trees(**trees))
    num_nodes = len(found.trees.value)
    links = {*found.trees.root, *found.trees.left, *found.trees.right}
    by_node = (found.trees.signal, found.trees.threshold, found.trees.left, found.trees.right)
    if {len(one) for one in by_node} != {num_nodes} or not links <= set(range(num_nodes)):
        raise ValueError(f"trees of {num_nodes} nodes whose parts do not fit together")
    if not set(found.trees.signal) <= set(range(len(found.trees.coefficients))):
        raise ValueError(f"trees of other than {len(found.trees.coefficients)} signals")
    return found


def load(run_path: Path) -> Combination | None:
    """The combination of a run; None where it was trained without.

    Raises:
        UserError: the file is damaged.
    """
    path = run_path / NAME
    if not path.exists():
        return None
    try:
        return from_json(files.read_json(path))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: expected boosted trees, it does not fit ({error}): "
            "continue the training with --resume, which fits them again"
        ) from None
