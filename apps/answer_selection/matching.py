"""Two texts side by side: which words of one stand in the other, and how much they say.

Both texts are `Words`, one pair of texts a row. `True` in a mask = real; padding never counts.
"""

from typing import NamedTuple

from keras import ops

_BM25_K1, _BM25_B, _BM25_LENGTH = 1.2, 0.75, 25.0
_SMALL = 1e-6


class Words(NamedTuple):
    """The words of one text in each pair.

    Attributes:
        embedded: float (pairs, time, dim).
        idf: float (pairs, time, 1), how rare the word is, 0 to 1.
        keys: int32 (pairs, time, keys), equal where words are; see features.py.
        mask: bool (pairs, time).
    """

    embedded: object
    idf: object
    keys: object
    mask: object


class Overlap(NamedTuple):
    """How the words of one text agree with those of the other.

    Attributes:
        equal: float (pairs, time, other_time, keys), 1 where two real words have the same key.
        similar: float (pairs, time, other_time), cosine of the word vectors, 0 at padding.
    """

    equal: object
    similar: object


def compare_words(words: Words, other: Words) -> Overlap:
    """Every word of one text with every word of the other."""
    same = ops.equal(ops.expand_dims(words.keys, 2), ops.expand_dims(other.keys, 1))
    both = ops.logical_and(ops.expand_dims(words.mask, 2), ops.expand_dims(other.mask, 1))
    equal = ops.cast(ops.logical_and(same, ops.expand_dims(both, -1)), words.idf.dtype)
    return Overlap(equal, ops.matmul(_unit(words), ops.transpose(_unit(other), (0, 2, 1))))


def _unit(words: Words):
    length = ops.sqrt(ops.sum(ops.square(words.embedded), axis=-1, keepdims=True) + _SMALL)
    return words.embedded / length * ops.expand_dims(_real(words), -1)


def flags(words: Words, overlap: Overlap):
    """What each word is told of the other text, float (pairs, time, 2 * keys + 2).

    Whether it stands there, by each key; the same times its IDF; its IDF; its nearest word's
    cosine.

    Args:
        words: the text that is told.
        overlap: from `compare_words(words, other)`.
    """
    stands = ops.max(overlap.equal, axis=2)  # (pairs, time, keys)
    nearest = _nearest(overlap)
    told = [stands, stands * words.idf, words.idf, ops.expand_dims(nearest, -1)]
    return ops.concatenate(told, axis=-1) * ops.expand_dims(_real(words), -1)


def pair_features(question: Words, candidate: Words, overlap: Overlap):
    """Overlap of the two texts as a whole, float (pairs, 4 * keys + 3).

    By each key: the share of the question's words and of its IDF that the candidate has, the share
    of the candidate's words that the question has, and a BM25 score (Robertson & Zaragoza 2009,
    https://doi.org/10.1561/1500000019). Then the cosines of the question's words, weighed by IDF,
    and the logarithms of both lengths.
    """
    asked = ops.expand_dims(_real(question), -1)  # (pairs, question_time, 1)
    weight = question.idf * asked
    total = ops.sum(weight, axis=1) + _SMALL
    num_asked = ops.sum(asked, axis=1) + _SMALL
    num_given = ops.sum(_real(candidate), axis=1, keepdims=True) + _SMALL

    found = ops.max(overlap.equal, axis=2)  # (pairs, question_time, keys)
    times = ops.sum(overlap.equal, axis=2)
    length_norm = 1 - _BM25_B + _BM25_B * num_given / _BM25_LENGTH  # (pairs, 1)
    # The small one first: where axis 1 has n entries, Keras 3.15 takes a second operand (n, 1, 1)
    # for its bias.
    saturated = times / (_BM25_K1 * ops.expand_dims(length_norm, 1) + times)
    nearest = _nearest(overlap)
    return ops.concatenate(
        [
            ops.sum(found, axis=1) / num_asked,
            ops.sum(found * weight, axis=1) / total,
            ops.sum(ops.max(overlap.equal, axis=1), axis=1) / num_given,
            ops.sum(saturated * weight, axis=1),
            ops.sum(ops.expand_dims(nearest, -1) * weight, axis=1) / total,
            ops.log(1 + num_asked) / 4,
            ops.log(1 + num_given) / 4,
        ],
        axis=-1,
    )


def unasked(candidate: Words, overlap: Overlap):
    """IDF of the candidate's words that the question lacks, 0 elsewhere, float (pairs, time).

    Args:
        candidate: its words.
        overlap: from `compare_words(question, candidate)`.
    """
    stands = ops.max(overlap.equal[..., 0], axis=1)
    return candidate.idf[..., 0] * (1 - stands) * _real(candidate)


def _nearest(overlap: Overlap):
    """Cosine of each word's nearest word, (pairs, time); at least 0, as padding has that."""
    return ops.maximum(ops.max(overlap.similar, axis=2), 0)


def _real(words: Words):
    return ops.cast(words.mask, words.idf.dtype)
