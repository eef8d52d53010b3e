"""Constraints on decoding: log-probabilities (rows, vocab) -> the same, some minus infinity."""

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

IMPOSSIBLE = float("-inf")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Constraints on a hypothesis; every decoder takes them by keyword.

    Attributes:
        start_id: input of the first step; not part of a hypothesis.
        end_id: ends a hypothesis.
        max_steps: the greatest length with the end token, which is forced there.
        min_steps: the least number of tokens before the end token.
        forbidden_ids: tokens that are never written: padding, the start, the unknown word.
        pad_id: fills `token_ids` after the end.
    """

    start_id: int
    end_id: int
    max_steps: int
    min_steps: int = 0
    forbidden_ids: Sequence[int] = ()
    pad_id: int = 0

    def __post_init__(self):
        if not 0 <= self.min_steps < self.max_steps:
            raise ValueError(
                f"expected 0 <= min_steps < max_steps, got {self.min_steps} and {self.max_steps}"
            )
        if self.end_id in self.forbidden_ids:
            raise ValueError(f"forbidden_ids must not hold the end token {self.end_id}")

    def apply(self, log_probs: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """Minus infinity where a token is not allowed: (rows, vocab) to (rows, vocab).

        Args:
            log_probs: float32 (rows, vocab).
            length: number of tokens written so far, the same in all rows.
        """
        ids = tf.range(size(log_probs, 1))
        is_end = ids == self.end_id
        forced = length == self.max_steps - 1
        allowed = tf.where(is_end, length >= self.min_steps, tf.logical_not(forced))
        if self.forbidden_ids:
            allowed &= tf.reduce_all(ids[:, None] != tf.constant(self.forbidden_ids), axis=1)
        return log_probs + tf.where(allowed, 0.0, IMPOSSIBLE)  # faster than a `where` by row


def size(values: tf.Tensor, axis: int):
    """Size of an axis: a Python number where the graph knows it, else a tensor."""
    static = values.shape[axis]
    return tf.shape(values)[axis] if static is None else static
