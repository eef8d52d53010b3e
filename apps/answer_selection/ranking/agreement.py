"""Agreement of candidates: a right answer often stands in several texts.

A score rises by what the candidate is expected to share with the right one, if each other candidate
is that with the probability that the scores give it. Sentences are compared by the cosine of their
words that the question lacks, weighed by IDF. After the graph of similar sentences of Otterbacher,
Erkan & Radev 2005, https://aclanthology.org/H05-1115, in one step.

Exports for other runtimes have this file too: it needs NumPy alone.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

MOST = 256  # the candidates that are compared, those with the best scores; bounds the memory
_COPY = 0.9999  # a cosine above is that of a copy, which says nothing new
_LOWEST = -3e38


def final_scores(parts: Sequence[Mapping[str, np.ndarray]], weight: float) -> np.ndarray:
    """Scores float32 (candidates,) of all candidates of a question.

    Args:
        parts: what the network gives for some of them each: `score` float32 (some,), and if the
            weight is not 0 `ids` int32 (some, time) and `unasked` float32 (some, time).
        weight: what an agreement of 1 adds; 0 leaves the scores as they are.
    """
    scores = np.concatenate([part["score"] for part in parts])
    if not weight:
        return scores
    time = max(part["ids"].shape[1] for part in parts)
    ids, unasked = (
        np.concatenate(
            [np.pad(part[name], [(0, 0), (0, time - part[name].shape[1])]) for part in parts]
        )
        for name in ("ids", "unasked")
    )
    return agree(scores, ids, unasked, weight)


def make_bags(ids: np.ndarray, unasked: np.ndarray) -> np.ndarray:
    """Bags of words (rows, words) of rows (rows, time); a word that comes again counts once."""
    words, columns = np.unique(ids, return_inverse=True)
    bags = np.zeros((len(ids), len(words)), np.float32)
    np.maximum.at(bags, (np.arange(len(ids))[:, None], columns.reshape(ids.shape)), unasked)
    return bags


def agree(scores, ids, unasked, weight: float, *, ops=np, make_bags: Callable = make_bags):
    """Scores of all candidates of one question, with `weight` times their agreement.

    Args:
        scores: float32 (candidates,), log-odds that a candidate is right.
        ids: int32 (candidates, time), the words.
        unasked: float32 (candidates, time), IDF of the words that the question lacks, 0 elsewhere.
        weight: what an agreement of 1 adds.
        ops: `numpy`, or `keras.ops` for tensors.
        make_bags: as the function above, for tensors.

    Returns:
        float32 (candidates,). Copies keep equal scores; a candidate without others keeps its own.
    """
    order = ops.argsort(-scores)
    best = order[:MOST]
    own = ops.take(scores, best, axis=0)
    bags = make_bags(ops.take(ids, best, axis=0), ops.take(unasked, best, axis=0))
    bags = bags / ops.sqrt(ops.maximum(ops.sum(bags * bags, axis=1, keepdims=True), 1e-12))
    similar = ops.matmul(bags, ops.transpose(bags))
    others = ops.logical_and(similar < _COPY, best[:, None] != best[None])
    log_odds = ops.where(others, own, _LOWEST)  # (rows, others)
    highest = ops.max(log_odds, axis=1, keepdims=True, initial=_LOWEST)
    odds = ops.where(others, ops.exp(log_odds - highest), 0.0)
    expected = ops.sum(odds * similar, axis=1) / ops.maximum(ops.sum(odds, axis=1), 1e-12)
    rest = ops.take(scores, order[MOST:], axis=0)
    agreed = ops.concatenate([own + weight * expected, rest])
    return ops.take(agreed, ops.argsort(order), axis=0)
