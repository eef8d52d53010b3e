"""Two networks that match a question with each of its candidates, on LSTM states; their loss.

A network takes `Texts` and gives `pooled` float (pairs, features), for the score, and `attention`
float (pairs, candidate_time), summing to 1: the words that counted.

A batch holds questions with their candidates, (batch, candidates, ...). The networks read pairs of
a question and a real candidate, (pairs, ...): candidates of padding, which in a mask bool
(batch, candidates, candidate_time) have no real word, cost nothing. `True` in a mask = real.
"""

from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from apps.answer_selection.config import ModelConfig
from common.layers import attention, pooling, recurrent
from common.runs.registration import registered
from common.training.losses import WeightedMean

_BM25_K1, _BM25_B, _BM25_LENGTH = 1.2, 0.75, 25.0
_SMALL = 1e-6
Tensor = Any


class Words(NamedTuple):
    """The words of texts, one text a row.

    Attributes:
        embedded: float (rows, time, dim).
        idf: float (rows, time, 1), how rare the word is, 0 to 1.
        keys: int32 (rows, time, keys), equal where words are; see tokenizer.py.
        mask: bool (rows, time).
    """

    embedded: Tensor
    idf: Tensor
    keys: Tensor
    mask: Tensor


class Overlap(NamedTuple):
    """How the words of one text of a pair agree with those of the other.

    Attributes:
        equal: float (pairs, time, other_time, keys), 1 where two real words have the same key.
        similar: float (pairs, time, other_time), cosine of the word vectors, 0 at padding.
    """

    equal: Tensor
    similar: Tensor


class Texts(NamedTuple):
    """The questions of a batch, and the pairs of a question and a candidate."""

    questions: Words  # (batch, question_time, ...)
    question: Words  # (pairs, question_time, ...), repeated for each candidate
    candidate: Words  # (pairs, candidate_time, ...)
    grouped_mask: Tensor  # bool (batch, candidates, candidate_time): which pairs there are
    overlap: Overlap | None  # of the pairs; None without match features


def compare_aggregate(texts: Texts, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Wang & Jiang 2017: attend, compare, aggregate; in both directions, on BiLSTM states."""
    _, question, candidate, *_ = texts
    encode = _make_encoder(config.word_dim, config, layers=config.layers, name="words_lstm")
    # A question is read once for all its candidates.
    states, _ = encode([texts.questions.embedded, texts.questions.mask])
    question_states = ForEachCandidate(name="question_states")(states, texts.grouped_mask)
    candidate_states, _ = encode([candidate.embedded, candidate.mask])

    look = attention.MultiplicativeAttention(name="question_to_candidate")
    look_back = attention.MultiplicativeAttention(name="candidate_to_question")
    from_candidate, weights = look(question_states, candidate_states, mask=candidate.mask)
    from_question, _ = look_back(candidate_states, question_states, mask=question.mask)

    question_flags, candidate_flags = _both_flags(texts)
    compare = keras.layers.Dense(config.compare_units, activation="relu", name="compare")
    aggregate = _make_encoder(config.compare_units, config, layers=1, name="aggregate_lstm")
    pooled = []
    for words, own, other, match_flags in (
        (question, question_states, from_candidate, question_flags),
        (candidate, candidate_states, from_question, candidate_flags),
    ):
        parts = [own, other, own * other, ops.absolute(own - other), *match_flags]
        compared = compare(ops.concatenate(parts, axis=-1))
        states, _ = aggregate([compared, words.mask])
        pooled += [pooling.masked_max(states, words.mask), pooling.masked_mean(states, words.mask)]

    idf = question.idf[..., 0] * ops.cast(question.mask, "float32")
    share = idf / (ops.sum(idf, axis=1, keepdims=True) + _SMALL)  # of each word of the question
    looks = ops.einsum("pq,pqc->pc", share, weights)
    return ops.concatenate(pooled, axis=-1), looks


def stacked(texts: Texts, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Wang & Nyberg 2015: one stack of LSTMs reads `question <S> candidate`; its outputs pooled."""
    _, question, candidate, *_ = texts
    parts = [
        ops.concatenate([words.embedded, *match_flags], axis=-1)
        for words, match_flags in zip((question, candidate), _both_flags(texts), strict=True)
    ]
    border = ops.ones_like(parts[0][:, :1])  # <S>: a vector that no word has
    joined = ops.concatenate([parts[0], border, parts[1]], axis=1)
    is_border = ops.ones_like(question.mask[:, :1])
    mask = ops.concatenate([question.mask, is_border, candidate.mask], axis=1)
    encode = _make_encoder(joined.shape[-1], config, layers=config.layers, name="words_lstm")
    states, _ = encode([joined, mask])
    before = [ops.zeros_like(words_mask) for words_mask in (question.mask, is_border)]
    in_candidate = ops.concatenate([*before, candidate.mask], axis=1)
    looks = AfterBorder(name="cut")(_shares_at_top(states, in_candidate), question.mask)
    pooled = [pooling.masked_max(states, mask), pooling.masked_mean(states, mask)]
    return ops.concatenate(pooled, axis=-1), looks


NETWORKS = {"compare_aggregate": compare_aggregate, "stacked": stacked}


def _make_encoder(input_dim: int, config: ModelConfig, *, layers: int, name: str):
    return recurrent.make_encoder(
        input_dim,
        config.units,
        num_layers=layers,
        bidirectional="concat" if config.direction == "both" else "no",
        dropout=config.dropout,
        name=name,
    )


def _shares_at_top(states, mask):
    """The share of features that are highest at each word, (pairs, time): which words counted."""
    highest = ops.expand_dims(pooling.masked_max(states, mask), 1)
    at_top = ops.cast(ops.equal(states, highest), "float32")
    shares = ops.mean(at_top, axis=-1) * ops.cast(mask, "float32")
    return shares / (ops.sum(shares, axis=1, keepdims=True) + _SMALL)


def compare_words(words: Words, other: Words) -> Overlap:
    """Every word of one text with every word of the other."""
    same = ops.equal(ops.expand_dims(words.keys, 2), ops.expand_dims(other.keys, 1))
    both = ops.logical_and(ops.expand_dims(words.mask, 2), ops.expand_dims(other.mask, 1))
    equal = ops.cast(ops.logical_and(same, ops.expand_dims(both, -1)), words.idf.dtype)
    return Overlap(equal, ops.matmul(_unit(words), ops.transpose(_unit(other), (0, 2, 1))))


def flags(words: Words, overlap: Overlap):
    """What each word knows of the other text, float (pairs, time, 2 * keys + 2).

    Whether it stands there, by each key; the same times its IDF; its IDF; its nearest word's
    cosine. `overlap` is that of `compare_words(words, other)`.
    """
    stands = ops.max(overlap.equal, axis=2)  # (pairs, time, keys)
    parts = [stands, stands * words.idf, words.idf, ops.expand_dims(_nearest(overlap), -1)]
    return ops.concatenate(parts, axis=-1) * ops.expand_dims(_real(words), -1)


def _both_flags(texts: Texts) -> tuple[list, list]:
    """The match features of the words of both texts, as lists to add; empty without them."""
    if texts.overlap is None:
        return [], []
    equal, similar = texts.overlap
    back = Overlap(ops.transpose(equal, (0, 2, 1, 3)), ops.transpose(similar, (0, 2, 1)))
    return [flags(texts.question, texts.overlap)], [flags(texts.candidate, back)]


def pair_features(question: Words, candidate: Words, overlap: Overlap):
    """Overlap of the two texts as a whole, float (pairs, 4 * keys + 3).

    By each key: the share of the question's words and of its IDF that the candidate has, the share
    of the candidate's words that the question has, and a BM25 score (Robertson & Zaragoza 2009,
    https://doi.org/10.1561/1500000019). Then the cosines of the question's words, weighed by IDF,
    and the logarithms of both lengths.
    """
    real = ops.expand_dims(_real(question), -1)  # (pairs, question_time, 1)
    idf = question.idf * real
    total_idf = ops.sum(idf, axis=1) + _SMALL
    num_question = ops.sum(real, axis=1) + _SMALL
    num_candidate = ops.sum(_real(candidate), axis=1, keepdims=True) + _SMALL

    stands = ops.max(overlap.equal, axis=2)  # (pairs, question_time, keys)
    times = ops.sum(overlap.equal, axis=2)
    length_norm = 1 - _BM25_B + _BM25_B * num_candidate / _BM25_LENGTH  # (pairs, 1)
    # The small one first: where axis 1 has n entries, Keras 3.15 takes a second operand (n, 1, 1)
    # for its bias.
    saturated = times / (_BM25_K1 * ops.expand_dims(length_norm, 1) + times)
    return ops.concatenate(
        [
            ops.sum(stands, axis=1) / num_question,
            ops.sum(stands * idf, axis=1) / total_idf,
            ops.sum(ops.max(overlap.equal, axis=1), axis=1) / num_candidate,
            ops.sum(saturated * idf, axis=1),
            ops.sum(ops.expand_dims(_nearest(overlap), -1) * idf, axis=1) / total_idf,
            ops.log(1 + num_question) / 4,
            ops.log(1 + num_candidate) / 4,
        ],
        axis=-1,
    )


def unasked(candidate: Words, overlap: Overlap):
    """IDF of the candidate's words that the question lacks, 0 elsewhere, float (pairs, time).

    `overlap` is that of `compare_words(question, candidate)`.
    """
    stands = ops.max(overlap.equal[..., 0], axis=1)
    return candidate.idf[..., 0] * (1 - stands) * _real(candidate)


def _unit(words: Words):
    length = ops.sqrt(ops.sum(ops.square(words.embedded), axis=-1, keepdims=True) + _SMALL)
    return words.embedded / length * ops.expand_dims(_real(words), -1)


def _nearest(overlap: Overlap):
    """Cosine of each word's nearest word, (pairs, time); at least 0, as padding has that."""
    return ops.maximum(ops.max(overlap.similar, axis=2), 0)


def _real(words: Words):
    return ops.cast(words.mask, words.idf.dtype)


class PointwiseLoss(WeightedMean):
    """Cross-entropy of each candidate by itself, averaged over a question, then over the batch.

    Shapes: label int32 (batch, candidates), 1 = right, 0 = wrong, -1 = padding; score float
    (batch, candidates), log-odds that the candidate is right; sample_weight float32 (batch,).
    """

    def call(self, y_true, y_pred):
        """One value a question, (batch,)."""
        real = ops.cast(y_true >= 0, y_pred.dtype)
        target = ops.cast(y_true > 0, y_pred.dtype)
        # log(1 + exp(score)) - target * score, without overflow
        each = ops.softplus(y_pred) - target * y_pred
        return ops.sum(each * real, axis=-1) / ops.maximum(ops.sum(real, axis=-1), 1)


class _Plain(keras.layers.Layer):
    """A layer without weights."""

    def build(self, *shapes):
        """Nothing to make."""
        self.built = True

    def compute_mask(self, *args, **kwargs):
        """Masks are arguments here; none is handed on."""
        return None


@registered("apps.answer_selection.model")
class Pairs(_Plain):
    """Real candidates of all questions in one row: (batch, candidates, ...) -> (pairs, ...)."""

    def call(self, grouped, mask):
        """See the class."""
        return tf.gather_nd(grouped, _places(mask))


@registered("apps.answer_selection.model")
class ForEachCandidate(_Plain):
    """Repeats what belongs to a question for its candidates: (batch, ...) -> (pairs, ...)."""

    def call(self, values, mask):
        """See the class."""
        return tf.gather(values, _places(mask)[:, 0])


@registered("apps.answer_selection.model")
class Grouped(_Plain):
    """Back again: (pairs, ...) -> (batch, candidates, ...), zeros for candidates of padding."""

    def call(self, values, mask):
        """See the class."""
        shape = tf.concat([tf.shape(mask)[:2], tf.shape(values)[1:]], axis=0)
        grouped = tf.scatter_nd(_places(mask), values, shape)
        return ops.reshape(grouped, (*ops.shape(mask)[:2], *ops.shape(values)[1:]))


@registered("apps.answer_selection.model")
class AfterBorder(_Plain):
    """The part of rows behind a border step: (pairs, first + 1 + rest), (pairs, first) -> rest."""

    def call(self, rows, first):
        """See the class."""
        return rows[:, ops.shape(first)[1] + 1 :]


def _places(mask):
    """Row and candidate of each pair, int32 (pairs, 2)."""
    return tf.cast(tf.where(tf.reduce_any(mask, axis=-1)), tf.int32)
