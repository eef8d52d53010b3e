"""Beam search over a step function (see `sampling`), for a whole batch in the graph."""

from typing import NamedTuple

import tensorflow as tf

from common.decoding import sampling
from common.decoding.rules import IMPOSSIBLE, Rules, size
from common.decoding.sampling import Decoded

_CHUNK = 64


def beam_search(
    step: sampling.Step,
    state,
    *,
    width: int,
    num_results: int | None = None,
    length_penalty: float = 0.6,
    **rules,
) -> Decoded:
    """Extends the `width` most probable beginnings of each example together.

    At each step the `width` best continuations of all live hypotheses are kept. Those among them
    that end leave the beam for a pool of the best finished ones; their places are filled again at
    the next step. A finished hypothesis y has the score

        log P(y) / ((5 + length) / 6) ** length_penalty

    Wu et al. 2016 (GNMT), https://arxiv.org/abs/1609.08144, section 7. Width 1 is greedy decoding;
    a beam that is wide enough for all hypotheses finds the best one. The search of an example ends
    when no live hypothesis can enter its pool any more; its result does not depend on the others.

    Args:
        step, state: see `sampling`; log-probabilities must not be above 0.
        width: live hypotheses of each example.
        num_results: finished ones to return, best first; None returns `width`.
        length_penalty: 0 compares log-probabilities, 1 about their means by token.
    """
    if width < 1 or length_penalty < 0:
        raise ValueError(
            f"expected width >= 1 and length_penalty >= 0, got {width} and {length_penalty}"
        )
    limits = Rules(**rules)
    state, rows = sampling.tile(state, width)
    batch = rows // width
    attention, recording = tf.TensorArray(tf.float32, 0, dynamic_size=True), []

    def going(length, last, live, pool, *_):
        best = tf.reduce_max(_bound(live.scores, limits.max_steps, length_penalty), axis=1)
        return (length < limits.max_steps) & tf.reduce_any(best > pool.scores[:, -1])

    def body(length, last, live, pool, state, attention):
        log_probs, state, weights = step(last, state)
        if weights is not None:
            recording.append(True)
            attention = attention.write(length, weights)
        live, last, parents = _continued(live, limits.apply(log_probs, length), length)
        parent_rows = tf.reshape(parents + width * tf.range(batch)[:, None], [-1])
        state = tf.nest.map_structure(lambda part: tf.gather(part, parent_rows), state)

        ended = last == limits.end_id
        final = normalised(live.scores, length + 1, length_penalty)
        pool = pool.best_with(live._replace(scores=tf.where(ended, final, IMPOSSIBLE)))
        live = live._replace(scores=tf.where(ended, IMPOSSIBLE, live.scores))
        return length + 1, tf.reshape(last, [-1]), live, pool, state, attention

    live = _Hypotheses.none(batch, width, limits)
    first = tf.where(tf.range(width) == 0, 0.0, IMPOSSIBLE)  # the others would be copies of it
    *_, pool, state, attention = sampling.loop(
        going,
        body,
        0,
        tf.fill([rows], limits.start_id),
        live._replace(scores=tf.broadcast_to(first, [batch, width])),
        _Hypotheses.none(batch, num_results or width, limits),
        state,
        attention,
    )
    weights = attention.stack() if recording else None
    return sampling.finish(pool.token_ids, pool.scores, pool.slots, weights, limits)


def normalised(log_probs, length, length_penalty: float):
    """Log-probabilities of hypotheses divided by GNMT's length penalty."""
    return log_probs / ((5.0 + tf.cast(length, tf.float32)) / 6.0) ** length_penalty


def _bound(log_probs, max_steps: int, length_penalty: float):
    """The highest score that continuations of live hypotheses can have.

    A log-probability is not above 0 and only falls with more tokens, and its divisor grows with the
    length: no continuation exceeds the present log-probability over the divisor of `max_steps`.
    """
    return normalised(log_probs, max_steps, length_penalty)


class _Hypotheses(NamedTuple):
    """Some hypotheses of each example, best first.

    Attributes:
        scores: float32 (batch, count): of live ones the log-probability, of finished ones the final
            score; minus infinity where there is none.
        token_ids: int32 (batch, count, max_steps).
        slots: int32 (batch, count, max_steps): index of the live hypothesis that wrote a token.
    """

    scores: tf.Tensor
    token_ids: tf.Tensor
    slots: tf.Tensor

    @classmethod
    def none(cls, batch: tf.Tensor, count: int, rules: Rules) -> "_Hypotheses":
        shape = [batch, count, rules.max_steps]
        return cls(
            tf.fill(shape[:2], IMPOSSIBLE), tf.fill(shape, rules.pad_id), tf.zeros(shape, tf.int32)
        )

    def best_with(self, others: "_Hypotheses") -> "_Hypotheses":
        """The best of both, as many as in `self`; of equal scores, those of `self` come first."""
        both = _Hypotheses(*(tf.concat(pair, 1) for pair in zip(self, others, strict=True)))
        places = tf.math.top_k(both.scores, self.scores.shape[1]).indices
        return _Hypotheses(*(tf.gather(part, places, batch_dims=1) for part in both))


def _continued(live: _Hypotheses, log_probs: tf.Tensor, length: tf.Tensor) -> tuple:
    """The best `width` continuations by one token.

    Returns:
        The hypotheses; their last tokens and the places of their parents, int32 (batch, width).
    """
    width, vocab = live.scores.shape[1], size(log_probs, 1)
    totals = tf.reshape(live.scores, [-1, 1]) + log_probs  # (batch * width, vocab)
    scores, places = _top_k(tf.reshape(totals, [-1, width * vocab]), width)
    parents, last = places // vocab, places % vocab
    token_ids, slots = (
        sampling.put(tf.gather(part, parents, batch_dims=1), length, new)
        for part, new in ((live.token_ids, last), (live.slots, parents))
    )
    return _Hypotheses(scores, token_ids, slots), last, parents


def _top_k(values: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
    """`tf.math.top_k` of (batch, many), several times faster.

    No value of the best `count` lies outside the `count` chunks with the greatest maxima, where
    earlier chunks win ties: each of these holds a value that comes before it.
    """
    many = size(values, 1)
    padded = tf.pad(values, [[0, 0], [0, -many % _CHUNK]], constant_values=IMPOSSIBLE)
    chunks = tf.reshape(padded, [-1, (many + _CHUNK - 1) // _CHUNK, _CHUNK])
    number = tf.minimum(count, size(chunks, 1))
    best = tf.sort(tf.math.top_k(tf.reduce_max(chunks, axis=2), number).indices)
    candidates = tf.reshape(tf.gather(chunks, best, batch_dims=1), [-1, number * _CHUNK])
    largest, places = tf.math.top_k(candidates, count)
    chunk = tf.gather(best, places // _CHUNK, batch_dims=1)
    return largest, tf.minimum(chunk * _CHUNK + places % _CHUNK, many - 1)
