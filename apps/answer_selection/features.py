"""Strings to what the network reads: word ids, and keys by which words of two texts are compared.

One function for tf.data and for the SavedModel; all of it runs inside a TensorFlow graph.
"""

import tensorflow as tf

from common import text

NUM_KEYS = 3  # the word itself, the word without its ending, its first letters
NUM_SHAPES = 4  # small letters (and padding), a capital, all capitals, a number
_SHAPES = (r"\p{Lu}.*", r"\P{Ll}*\p{Lu}\P{Ll}*\p{Lu}\P{Ll}*", r".*\d.*|num")
_ENDING = r"(ings?|edly|ed|ies|es|s|ly|e|y)$"
_NUM_LETTERS = 3  # "tol" and "tolerance", "n_iter" and "iterations"
_LARGEST = 2**31 - 2


def words(strings: tf.Tensor) -> tf.RaggedTensor:
    """Splits string (batch,) into words, string (batch, time).

    As `text.words`; the parts of `n_jobs` are words, and every number is the word "num", since
    some published files have `<num>` in their training part and plain numbers elsewhere.
    """
    cased = _cased_words(strings)
    return cased.with_flat_values(_plain(cased.flat_values))


def _cased_words(strings: tf.Tensor) -> tf.RaggedTensor:
    spaced = tf.strings.regex_replace(strings, "_", " ")
    return tf.strings.split(text.standardize(spaced, lower=False))


def _plain(cased: tf.Tensor) -> tf.Tensor:
    lowered = tf.strings.lower(cased, encoding="utf-8")
    return tf.strings.regex_replace(lowered, r"\b\d+\b", "num")


def shapes(cased: tf.Tensor) -> tf.Tensor:
    """What words look like, string (words,) -> int32 (words,), 0 to NUM_SHAPES - 1.

    "num" is a number too: some published files have it in place of all their numbers.
    """
    found = tf.zeros(tf.shape(cased), tf.int32)
    for number, pattern in enumerate(_SHAPES, 1):
        found = tf.where(tf.strings.regex_full_match(cased, pattern), number, found)
    return found


def encode(
    strings: tf.Tensor, table: tf.lookup.StaticHashTable, *, num_buckets: int, max_words: int
) -> dict[str, tf.Tensor]:
    """Turns strings into padded ids and keys.

    Args:
        strings: string (batch,).
        table: from `Vocabulary.make_table(unknown=-1)`.
        num_buckets: words out of the vocabulary get one of so many ids after its last.
        max_words: words beyond it are cut off.

    Returns:
        ids int32 (batch, time), keys int32 (batch, time, NUM_KEYS), shape int32 (batch, time), all
        0 at padding, and mask bool (batch, time), True = real. Time is at least 1; a row without
        words is all padding.
        Keys of two words are equal when the words, their stems or their first letters are.
    """
    split = _cased_words(strings)
    lengths = tf.minimum(split.row_lengths(), max_words)
    # At least one step: an LSTM cannot run over zero of them.
    time = tf.maximum(tf.reduce_max(lengths), 1)
    mask = tf.sequence_mask(lengths, time)
    flat = _plain(split.flat_values)
    known = table.lookup(flat)
    bucket = tf.cast(tf.strings.to_hash_bucket_fast(flat, num_buckets), tf.int32)
    ids = tf.where(known < 0, tf.cast(table.size(), tf.int32) + bucket, known)
    stems = tf.where(
        tf.strings.length(flat, unit="UTF8_CHAR") > 4,
        tf.strings.regex_replace(flat, _ENDING, ""),
        flat,
    )
    letters = tf.strings.substr(flat, 0, _NUM_LETTERS, unit="UTF8_CHAR")
    keys = tf.strings.to_hash_bucket_fast(tf.stack([flat, stems, letters], axis=-1), _LARGEST)
    keys = tf.cast(keys, tf.int32) + 1  # 0 is padding
    padded = {
        name: text.pad(split.with_flat_values(values), time)
        for name, values in (("ids", ids), ("keys", keys), ("shape", shapes(split.flat_values)))
    }
    return {**padded, "mask": mask}
