"""Sampling from a step function.

A step function gives the distribution of the next token of each hypothesis, a row of tensors:

    step(token_ids (rows,) int32, state) -> log_probs (rows, vocab) float32, state, attention

`state` is a nest of tensors whose first axis is rows; attention is float32 (rows, ...) or None. A
decoder takes the state of one row per example and makes `count` rows of each, those of example b at
b * count ... (b + 1) * count - 1. Whatever is the same for all of them, such as the memory of
attention, stays out of the state: the step function closes over it and sees its rows as
(batch, count).

Each decoder is one `tf.while_loop`: it runs in Python, inside a `tf.function` and in a SavedModel.
Its `rules` are those of `rules.Rules`; the state that it is given has one row per example.
Greedy decoding is `beam_search` with width 1.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from common.decoding.rules import IMPOSSIBLE, Rules

Step = Callable[..., tuple]


class Decoded(NamedTuple):
    """Result of a decoder; `time` is the longest length.

    Attributes:
        token_ids: int32 (batch, n, time), the best of the n first; the end token stands at the end
            of each, padding after it.
        lengths: int32 (batch, n), with the end token; 0 where the rules leave no hypothesis.
        scores: float32 (batch, n); minus infinity where there is no hypothesis.
        attention: float32 (batch, n, time, ...), of the step that wrote the token, zeros after the
            end; None when the step gives none.
    """

    token_ids: tf.Tensor
    lengths: tf.Tensor
    scores: tf.Tensor
    attention: tf.Tensor | None


def sample(
    step: Step,
    state,
    *,
    seed,
    num_results: int = 1,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    **rules,
) -> Decoded:
    """Draws each token from the model's distribution, or from its most probable part.

    The order is: divide by the temperature; keep `top_k` tokens (Fan et al. 2018,
    https://arxiv.org/abs/1805.04833); of these, keep the fewest whose probability reaches `top_p`
    (the nucleus: Holtzman et al. 2020, https://arxiv.org/abs/1904.09751); draw.

    Args:
        seed: int (2,); the same seed draws the same from the same batch.
        num_results: hypotheses for each example, drawn independently.
        temperature: above 0; lower ones favour what is probable.
        top_k: 0 keeps all.
        top_p: in (0, 1]; 1 keeps all.

    Returns:
        n is `num_results`, in the order of drawing; scores are the model's log-probabilities,
        without regard to temperature, top_k and top_p.
    """
    if temperature <= 0 or not 0 < top_p <= 1 or top_k < 0:
        raise ValueError(
            "expected temperature > 0, top_k >= 0 and 0 < top_p <= 1, "
            f"got {temperature}, {top_k} and {top_p}"
        )

    def draw(log_probs, length, _):
        logits, vocab = log_probs / temperature, tf.shape(log_probs)[1]
        now = tf.random.experimental.stateless_fold_in(seed, length)
        if not top_k and top_p == 1:  # nothing to sort
            token = tf.random.stateless_categorical(logits, 1, now, dtype=tf.int32)[:, 0]
            return tf.minimum(token, vocab - 1), ()
        top, ids = tf.math.top_k(logits, tf.minimum(top_k, vocab) if top_k else vocab)
        probs = tf.nn.softmax(top)
        nucleus = tf.where(tf.cumsum(probs, axis=1, exclusive=True) < top_p, top, IMPOSSIBLE)
        place = tf.random.stateless_categorical(nucleus, 1, now, dtype=tf.int32)
        # Where no token is allowed, the draw has no meaning and may be out of range.
        place = tf.minimum(place, tf.shape(nucleus)[1] - 1)
        return tf.gather(ids, place, batch_dims=1)[:, 0], ()

    return _write(step, state, Rules(**rules), num_results, draw)


def spread_sample(step: Step, state, *, num_results: int, **rules) -> Decoded:
    """Draws hypotheses that lie evenly in the model's distribution, the same ones every time.

    Arithmetic sampling (Vilnis et al. 2023, https://arxiv.org/abs/2210.15458): in alphabetic order
    of their ids all hypotheses share the interval from 0 to 1 by their probabilities; those at the
    middles of `num_results` equal parts are given. Means over them vary less than over independent
    draws, and an example has the same ones whatever else is in its batch.

    Args:
        num_results: hypotheses for each example.

    Returns:
        n is `num_results`; scores are log-probabilities.
    """

    def draw(log_probs, _, place):
        ends = tf.cumsum(tf.exp(tf.cast(log_probs, tf.float64)), axis=1)
        place *= ends[:, -1]  # what the rules forbid is missing
        last = tf.shape(ends)[1] - 1
        token = tf.minimum(tf.searchsorted(ends, place[:, None], side="right")[:, 0], last)
        end = tf.gather(ends, token, batch_dims=1)
        begin = tf.where(token > 0, tf.gather(ends, tf.maximum(token - 1, 0), batch_dims=1), 0.0)
        # Below 1, where no token would be left.
        return token, tf.minimum(tf.math.divide_no_nan(place - begin, end - begin), 1 - 1e-9)

    batch = tf.shape(tf.nest.flatten(state)[0])[0]
    middles = (tf.range(num_results, dtype=tf.float64) + 0.5) / num_results
    return _write(step, state, Rules(**rules), num_results, draw, tf.tile(middles, [batch]))


def _write(step: Step, state, rules: Rules, count: int, choose, carried=()) -> Decoded:
    """Appends a token to every row until all have ended.

    `choose(log_probs, length, carried)` gives the tokens, int32 (rows,), and the `carried` of the
    next step.
    """
    state, rows = tile(state, count)
    attention, recording = tf.TensorArray(tf.float32, 0, dynamic_size=True), []

    def going(length, ended, *_):
        return (length < rules.max_steps) & tf.logical_not(tf.reduce_all(ended))

    def body(length, ended, last, scores, token_ids, state, attention, carried):
        log_probs, state, weights = step(last, state)
        if weights is not None:
            recording.append(True)
            attention = attention.write(length, weights)
        log_probs = rules.apply(log_probs, length)
        last, carried = choose(log_probs, length, carried)
        scores += tf.where(ended, 0.0, tf.gather(log_probs, last, batch_dims=1))
        token_ids = put(token_ids, length, tf.where(ended, rules.pad_id, last))
        ended |= last == rules.end_id
        return length + 1, ended, last, scores, token_ids, state, attention, carried

    _, _, _, scores, token_ids, _, attention, _ = loop(
        going,
        body,
        0,
        tf.zeros([rows], tf.bool),
        tf.fill([rows], rules.start_id),
        tf.zeros([rows]),
        tf.fill([rows, rules.max_steps], rules.pad_id),
        state,
        attention,
        carried,
    )
    shape = [rows // count, count, rules.max_steps]
    slots = tf.broadcast_to(tf.range(count)[:, None], shape)
    scores, token_ids = tf.reshape(scores, shape[:2]), tf.reshape(token_ids, shape)
    return finish(token_ids, scores, slots, attention.stack() if recording else None, rules)


def tile(state, count: int) -> tuple:
    """Each row `count` times in succession, and the number of rows."""
    rows = tf.shape(tf.nest.flatten(state)[0])[0] * count
    return tf.nest.map_structure(lambda part: tf.repeat(part, count, axis=0), state), rows


def loop(going, body, *variables) -> tuple:
    """`tf.while_loop` over tensors whose first axis is free."""

    def free(part):
        free_rows = isinstance(part, tf.Tensor) and part.shape.rank
        return tf.TensorShape([None, *part.shape[1:]]) if free_rows else None

    variables = tf.nest.map_structure(
        lambda part: part if isinstance(part, tf.TensorArray) else tf.convert_to_tensor(part),
        variables,
    )
    shapes = tf.nest.map_structure(free, variables)
    return tf.while_loop(going, body, variables, shape_invariants=shapes)


def put(values: tf.Tensor, place: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """`values` (..., steps) with `new` (...) at step `place`."""
    return tf.where(tf.range(values.shape[-1]) == place, new[..., None], values)


def finish(token_ids, scores, slots, attention, rules: Rules) -> Decoded:
    """Cuts to the longest hypothesis, and gathers the attention of each.

    Args:
        token_ids: int32 (batch, n, max_steps).
        scores: float32 (batch, n).
        slots: int32 (batch, n, max_steps): which row of its example wrote a token of a hypothesis.
        attention: float32 (steps, rows, ...) or None.
        rules: of the search.
    """
    ends = tf.argmax(token_ids == rules.end_id, axis=2, output_type=tf.int32) + 1
    lengths = tf.where(scores > IMPOSSIBLE, ends, 0)
    time = tf.reduce_max(lengths)
    real = tf.sequence_mask(lengths, time)
    token_ids = tf.where(real, token_ids[:, :, :time], rules.pad_id)
    if attention is None:
        return Decoded(token_ids, lengths, scores, None)

    batch, rows = tf.shape(token_ids)[0], tf.shape(attention)[1]
    example = tf.range(batch)[:, None, None] * (rows // batch)
    places = tf.range(time) * rows + example + slots[:, :, :time]
    flat = tf.reshape(attention, tf.concat([[-1], tf.shape(attention)[2:]], axis=0))
    along = tf.gather(flat, places)  # (batch, n, time, ...)
    real = tf.reshape(real, tf.concat([tf.shape(real), tf.ones_like(tf.shape(along)[3:])], axis=0))
    return Decoded(token_ids, lengths, scores, tf.where(real, along, 0.0))
