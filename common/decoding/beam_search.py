"""Beam search over a step function (see `sampling`), for a whole batch in the graph."""

from typing import NamedTuple

import tensorflow as tf

from common.decoding import sampling
from common.decoding.rules import IMPOSSIBLE, Rules, size
from common.decoding.sampling import Decoded

_CHUNK = 64
_LEAST_COVERAGE = 1e-6  # of a position that was never looked at, so that scores stay finite


def beam_search(
    step: sampling.Step,
    state,
    *,
    width: int,
    num_results: int | None = None,
    length_penalty: float = 0.6,
    coverage_penalty: float = 0.0,
    attention_mask: tf.Tensor | None = None,
    **rules,
) -> Decoded:
    """Follows the `width` most probable beginnings of each example at the same time.

    At each step the `width` best continuations of all live hypotheses are kept. Those among them
    that end leave the beam for a pool of the best finished ones, where nothing changes them any
    more; their places are filled again at the next step. A finished hypothesis y has the score

        log P(y) / ((5 + length) / 6) ** length_penalty
        + coverage_penalty * sum over positions of log(min(sum over steps of attention, 1))

    Wu et al. 2016 (GNMT), https://arxiv.org/abs/1609.08144, section 7. Width 1 is greedy decoding,
    and a width that nothing falls out of finds the best of all hypotheses. The search of an example
    ends when nothing that is live can enter its pool any more; its result does not depend on the
    other examples.

    Args:
        step, state: see `sampling`; the state has one row per example, which becomes `width`
            rows. Log-probabilities must not be above 0.
        width: live hypotheses of each example.
        num_results: finished ones that are given back, best first; `width` of them if None.
        length_penalty: 0 compares log-probabilities, 1 about their means by token.
        coverage_penalty: above 0, the attention of a step must sum to at most 1.
        attention_mask: bool (batch, ...) like the attention, True = real; needed with a coverage
            penalty.
        rules: see `decoding_rules.Rules`.
    """
    if width < 1 or length_penalty < 0 or coverage_penalty < 0:
        raise ValueError(
            "expected width >= 1 and penalties >= 0, "
            f"got {width}, {length_penalty} and {coverage_penalty}"
        )
    if coverage_penalty and attention_mask is None:
        raise ValueError("expected an attention_mask with the coverage penalty, got None")
    limits = Rules(**rules)
    state, rows = sampling.tile(state, width)
    batch = rows // width
    real = tf.zeros([batch, 0], tf.bool)
    if coverage_penalty:
        real = tf.reshape(attention_mask, [batch, -1])
    scoring = _Scoring(length_penalty, coverage_penalty, real[:, None], limits.max_steps)
    attention, recording = tf.TensorArray(tf.float32, 0, dynamic_size=True), []

    def going(length, last, live, coverage, pool, *_):
        best = tf.reduce_max(scoring.reachable(live.scores, coverage, length), axis=1)
        return (length < limits.max_steps) & tf.reduce_any(best > pool.scores[:, -1])

    def body(length, last, live, coverage, pool, state, attention):
        log_probs, state, weights = step(last, state)
        if weights is not None:
            recording.append(True)
            attention = attention.write(length, weights)
        written = tf.reshape(live.token_ids, [-1, limits.max_steps])
        log_probs = limits.apply(log_probs, written, length)
        live, last, parents = _continued(live, log_probs, length)
        if coverage_penalty:
            coverage += tf.reshape(weights, tf.shape(coverage))
            coverage = tf.gather(coverage, parents, batch_dims=1)
        came_from = tf.reshape(parents + width * tf.range(batch)[:, None], [-1])
        state = tf.nest.map_structure(lambda part: tf.gather(part, came_from), state)

        ended = last == limits.end_id
        final = scoring.final(live.scores, coverage, length + 1)
        pool = pool.best_with(live._replace(scores=tf.where(ended, final, IMPOSSIBLE)))
        live = live._replace(scores=tf.where(ended, IMPOSSIBLE, live.scores))
        return length + 1, tf.reshape(last, [-1]), live, coverage, pool, state, attention

    live = _Hypotheses.none(batch, width, limits)
    first = tf.where(tf.range(width) == 0, 0.0, IMPOSSIBLE)  # the others would be its doubles
    *_, pool, state, attention = sampling.loop(
        going,
        body,
        0,
        tf.fill([rows], limits.start_id),
        live._replace(scores=tf.broadcast_to(first, [batch, width])),
        tf.zeros([batch, width, tf.shape(real)[1]]),
        _Hypotheses.none(batch, num_results or width, limits),
        state,
        attention,
    )
    weights = attention.stack() if recording else None
    return sampling.finish(pool.token_ids, pool.scores, pool.slots, weights, limits)


class _Hypotheses(NamedTuple):
    """Some hypotheses of each example, best first.

    Attributes:
        scores: float32 (batch, count): of live ones the log-probability, of finished ones the final
            score; minus infinity where there is none.
        token_ids: int32 (batch, count, max_steps).
        slots: int32 (batch, count, max_steps): the place among the live ones that wrote a token.
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
        """As many as here, out of both; of equal scores, what stands here stays."""
        both = _Hypotheses(*(tf.concat(pair, 1) for pair in zip(self, others, strict=True)))
        places = tf.math.top_k(both.scores, self.scores.shape[1]).indices
        return _Hypotheses(*(tf.gather(part, places, batch_dims=1) for part in both))


def _continued(live: _Hypotheses, log_probs: tf.Tensor, length: tf.Tensor) -> tuple:
    """The best continuations by one token, as many as there are live hypotheses.

    Returns:
        The hypotheses; their last tokens and the places of their parents, int32 (batch, width).
    """
    width, vocab = live.scores.shape[1], size(log_probs, 1)
    totals = tf.reshape(live.scores, [-1, 1]) + log_probs  # (batch * width, vocab)
    scores, chosen = _top_k(tf.reshape(totals, [-1, width * vocab]), width)
    parents, last = chosen // vocab, chosen % vocab
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
    kept = tf.reshape(tf.gather(chunks, best, batch_dims=1), [-1, number * _CHUNK])
    found, places = tf.math.top_k(kept, count)
    chunk = tf.gather(best, places // _CHUNK, batch_dims=1)
    return found, tf.minimum(chunk * _CHUNK + places % _CHUNK, many - 1)


class _Scoring(NamedTuple):
    """Scores of finished hypotheses, and what live ones can still reach.

    `real`, bool (batch, 1, positions), tells padding from what can be attended to; without a
    coverage penalty there are no positions.
    """

    length_penalty: float
    coverage_penalty: float
    real: tf.Tensor
    max_steps: int

    def final(self, log_probs, coverage, length) -> tf.Tensor:
        """Scores (batch, width) of hypotheses that end with this length."""
        scores = self._normalised(log_probs, length)
        if not self.coverage_penalty:
            return scores
        penalty = tf.reduce_sum(tf.math.log(tf.where(self.real, _counted(coverage), 1.0)), axis=2)
        return scores + self.coverage_penalty * penalty

    def reachable(self, log_probs, coverage, length) -> tf.Tensor:
        """At least the score of every continuation: (batch, width).

        Proof. Let a hypothesis of this length end after L more tokens, length + L <= max_steps.
        Its log-probability has only fallen, it is not above 0, and the normaliser grows with the
        length: the first term is at most the present log-probability by the greatest normaliser.
        Let c(x) be the coverage, at most 1, of the N real positions. L steps of attention add at
        most L to their sum. The logarithm is concave, so the sum of log c(x) is at most N log m
        for their mean m (Jensen), and m is at most (the present sum + max_steps - length) / N.
        """
        scores = self._normalised(log_probs, self.max_steps)
        if not self.coverage_penalty:
            return scores
        number = tf.reduce_sum(tf.cast(self.real, tf.float32), axis=2)  # (batch, 1)
        total = tf.reduce_sum(tf.where(self.real, _counted(coverage), 0.0), axis=2)
        mean = (total + tf.cast(self.max_steps - length, tf.float32)) / tf.maximum(number, 1.0)
        penalty = number * tf.math.log(tf.minimum(mean, 1.0))
        return scores + self.coverage_penalty * penalty

    def _normalised(self, log_probs, length) -> tf.Tensor:
        return normalised(log_probs, length, self.length_penalty)


def normalised(log_probs, length, length_penalty: float):
    """Log-probabilities of hypotheses divided by GNMT's length penalty."""
    return log_probs / ((5.0 + tf.cast(length, tf.float32)) / 6.0) ** length_penalty


def _counted(coverage):
    return tf.clip_by_value(coverage, _LEAST_COVERAGE, 1.0)
