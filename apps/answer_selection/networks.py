"""Two ways to match a question with each of its candidates, on LSTM states."""

from typing import NamedTuple

import keras
from keras import ops

from apps.answer_selection import matching
from apps.answer_selection.config import ModelConfig
from apps.answer_selection.groups import AroundBorder, ForEachCandidate
from apps.answer_selection.matching import Overlap, Words
from common.layers import attention, pooling, recurrent


class Texts(NamedTuple):
    """The questions of a batch, and the pairs of a question and a candidate."""

    asked: Words  # (batch, question_time, ...)
    question: Words  # (pairs, question_time, ...), repeated for each candidate
    candidate: Words  # (pairs, candidate_time, ...)
    grouped_mask: object  # bool (batch, candidates, candidate_time): which pairs there are
    overlap: Overlap | None  # of the pairs; None without match features


class Matched(NamedTuple):
    """What a way to match makes of pairs."""

    pooled: object  # float (pairs, features), for the score
    attention: object  # float (pairs, candidate_time), summing to 1: the words that counted
    alignment: object  # float (pairs, question_time, candidate_time)


def _make_encoder(input_dim: int, units: int, config: ModelConfig, *, layers: int, name: str):
    return recurrent.make_encoder(
        input_dim,
        units,
        num_layers=layers,
        bidirectional="concat" if config.direction == "both" else "no",
        dropout=config.dropout,
        name=name,
    )


def _encode_apart(texts: Texts, config: ModelConfig) -> tuple:
    """States of both texts of each pair, by one LSTM that reads a question once."""
    encode = _make_encoder(
        config.word_dim, config.units, config, layers=config.layers, name="words_lstm"
    )
    states, _ = encode([texts.asked.embedded, texts.asked.mask])
    asked_states = ForEachCandidate(name="asked_states")(states, texts.grouped_mask)
    given_states, _ = encode([texts.candidate.embedded, texts.candidate.mask])
    return asked_states, given_states


def compare_aggregate(texts: Texts, config: ModelConfig) -> Matched:
    """Wang & Jiang 2017: attend, compare, aggregate; in both directions, on BiLSTM states."""
    _, question, candidate, *_ = texts
    asked_states, given_states = _encode_apart(texts, config)

    look = attention.MultiplicativeAttention(name="question_to_candidate")
    look_back = attention.MultiplicativeAttention(name="candidate_to_question")
    found, alignment = look(asked_states, given_states, mask=candidate.mask)
    wanted, _ = look_back(given_states, asked_states, mask=question.mask)

    asked_flags, given_flags = _flags(texts)
    compare = keras.layers.Dense(config.compare_units, activation="relu", name="compare")
    aggregate = _make_encoder(
        config.compare_units, config.units, config, layers=1, name="aggregate_lstm"
    )
    pooled = []
    for words, own, other, told in (
        (question, asked_states, found, asked_flags),
        (candidate, given_states, wanted, given_flags),
    ):
        parts = [own, other, own * other, ops.absolute(own - other), *told]
        compared = compare(ops.concatenate(parts, axis=-1))
        states, _ = aggregate([compared, words.mask])
        pooled += [pooling.masked_max(states, words.mask), pooling.masked_mean(states, words.mask)]

    weight = question.idf[..., 0] * ops.cast(question.mask, "float32")
    weight = weight / (ops.sum(weight, axis=1, keepdims=True) + 1e-6)
    looks = ops.einsum("pq,pqc->pc", weight, alignment)
    return Matched(ops.concatenate(pooled, axis=-1), looks, alignment)


def stacked(texts: Texts, config: ModelConfig) -> Matched:
    """Wang & Nyberg 2015: one stack of LSTMs reads `question <S> candidate`; its outputs pooled."""
    _, question, candidate, *_ = texts
    parts = [
        ops.concatenate([words.embedded, *own], axis=-1)
        for words, own in zip((question, candidate), _flags(texts), strict=True)
    ]
    border = ops.ones_like(parts[0][:, :1])  # <S>: a vector that no word has
    both = ops.concatenate([parts[0], border, parts[1]], axis=1)
    is_border = ops.ones_like(question.mask[:, :1])
    mask = ops.concatenate([question.mask, is_border, candidate.mask], axis=1)
    encode = _make_encoder(
        both.shape[-1], config.units, config, layers=config.layers, name="words_lstm"
    )
    states, _ = encode([both, mask])
    nowhere = [ops.zeros_like(one) for one in (question.mask, is_border, candidate.mask)]
    asks = _shares_at_top(states, ops.concatenate([question.mask, *nowhere[1:]], axis=1))
    looks = _shares_at_top(states, ops.concatenate([*nowhere[:2], candidate.mask], axis=1))
    cut = AroundBorder(name="cut")
    asks, looks = cut(asks, question.mask)[0], cut(looks, question.mask)[1]
    alignment = ops.expand_dims(asks, 2) * ops.expand_dims(looks, 1)
    pooled = [pooling.masked_max(states, mask), pooling.masked_mean(states, mask)]
    return Matched(ops.concatenate(pooled, axis=-1), looks, alignment)


def _shares_at_top(states, mask):
    """The share of features that are highest at each word, (pairs, time): which words counted."""
    highest = ops.expand_dims(pooling.masked_max(states, mask), 1)
    at_top = ops.cast(ops.equal(states, highest), "float32") * ops.expand_dims(
        ops.cast(mask, "float32"), -1
    )
    shares = ops.mean(at_top, axis=-1)
    return shares / (ops.sum(shares, axis=1, keepdims=True) + 1e-6)


def _flags(texts: Texts) -> tuple[list, list]:
    """The match features of the words of both texts, as lists to add; empty without them."""
    if texts.overlap is None:
        return [], []
    equal, similar = texts.overlap
    back = Overlap(ops.transpose(equal, (0, 2, 1, 3)), ops.transpose(similar, (0, 2, 1)))
    return [matching.flags(texts.question, texts.overlap)], [matching.flags(texts.candidate, back)]


MATCHERS = {
    "compare_aggregate": compare_aggregate,
    "stacked": stacked,
}
