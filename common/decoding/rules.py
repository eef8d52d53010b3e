"""What a decoder may write: log-probabilities (rows, vocab) -> the same, some minus infinity."""

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

IMPOSSIBLE = float("-inf")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a hypothesis may look like; every decoder takes these by keyword.

    Attributes:
        start_id: what the first step is given; it is no part of a hypothesis.
        end_id: ends a hypothesis.
        max_steps: the greatest length, with the end token, which is forced there.
        min_steps: tokens before the end token, at least.
        no_repeat_ngram: no run of so many tokens occurs twice; 0 allows all.
        forbidden_ids: never written, such as padding, the start and the unknown word.
        pad_id: fills `token_ids` after the end.
    """

    start_id: int
    end_id: int
    max_steps: int
    min_steps: int = 0
    no_repeat_ngram: int = 0
    forbidden_ids: Sequence[int] = ()
    pad_id: int = 0

    def __post_init__(self):
        if not 0 <= self.min_steps < self.max_steps:
            raise ValueError(
                f"expected 0 <= min_steps < max_steps, got {self.min_steps} and {self.max_steps}"
            )
        if self.no_repeat_ngram < 0:
            raise ValueError(f"no_repeat_ngram must be at least 0, got {self.no_repeat_ngram}")
        if self.end_id in self.forbidden_ids:
            raise ValueError(f"forbidden_ids must not hold the end token {self.end_id}")

    def apply(self, log_probs: tf.Tensor, token_ids: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """Minus infinity where the rules forbid a token: (rows, vocab) to (rows, vocab).

        Args:
            log_probs: float32 (rows, vocab).
            token_ids: int32 (rows, max_steps), what has been written.
            length: how many of these there are, the same in all rows.
        """
        ids = tf.range(size(log_probs, 1))
        is_end = ids == self.end_id
        forced = length == self.max_steps - 1
        allowed = tf.where(is_end, length >= self.min_steps, tf.logical_not(forced))
        if self.forbidden_ids:
            allowed &= tf.reduce_all(ids[:, None] != tf.constant(self.forbidden_ids), axis=1)
        log_probs += tf.where(allowed, 0.0, IMPOSSIBLE)  # a sum is faster than a choice by row
        if 0 < self.no_repeat_ngram <= self.max_steps:
            repeats = self._repeats(token_ids, length)
            never = tf.fill(tf.shape(repeats)[:1], IMPOSSIBLE)
            log_probs = tf.tensor_scatter_nd_update(log_probs, repeats, never)
        return log_probs

    def _repeats(self, token_ids, length):
        """Pairs of row and token that would complete a run for the second time."""
        size = self.no_repeat_ngram
        starts = tf.range(self.max_steps - size + 1)
        runs = tf.gather(token_ids, starts[:, None] + tf.range(size), axis=1)
        last = tf.gather(token_ids, tf.maximum(length - size + 1, 0) + tf.range(size - 1), axis=1)
        same = tf.reduce_all(runs[:, :, :-1] == last[:, None], axis=2) & (starts + size <= length)
        return tf.stack([tf.cast(tf.where(same)[:, 0], tf.int32), runs[:, :, -1][same]], axis=1)


def size(values: tf.Tensor, axis: int):
    """Of an axis: a number where it is known, so that what follows from it is worked out once."""
    known = values.shape[axis]
    return tf.shape(values)[axis] if known is None else known
