"""Strings to what the network reads: word ids, and keys by which words of two texts are compared.

One function for tf.data and for the SavedModel; all of it runs inside a TensorFlow graph.
"""

import tensorflow as tf

from common.inputs import text

NUM_KEYS = 3  # the word itself, the word without its ending, its first letters
_ENDING = r"(ings?|edly|ed|ies|es|s|ly|e|y)$"
_NUM_LETTERS = 3  # "tol" and "tolerance", "n_iter" and "iterations"
_LARGEST = 2**31 - 2
MOST_BYTES = 32  # of a word that count for its bucket: what runtime.py can hash


def words(strings: tf.Tensor) -> tf.RaggedTensor:
    """Splits string (batch,) into words, string (batch, time).

    As `text.WORDS`; the parts of `n_jobs` are words, and every number is the word "num", since
    some published files have `<num>` in their training part and plain numbers elsewhere.
    """
    standard = text.WORDS.standardize(tf.strings.regex_replace(strings, "_", " "))
    standard = tf.strings.regex_replace(standard, r"\b\d+\b", "num")
    return tf.strings.split(standard)


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
        ids int32 (batch, time), keys int32 (batch, time, NUM_KEYS), 0 at padding, and mask bool
        (batch, time), True = real. Time is at least 1; a row without words is all padding.
        Keys of two words are equal when the words, their stems or their first letters are.
    """
    split = words(strings)
    lengths = tf.minimum(split.row_lengths(), max_words)
    # At least one step: an LSTM cannot run over zero of them.
    time = tf.maximum(tf.reduce_max(lengths), 1)
    mask = tf.sequence_mask(lengths, time)
    flat = split.flat_values
    in_vocabulary = table.lookup(flat)
    start = tf.strings.substr(flat, 0, MOST_BYTES)
    bucket = tf.cast(tf.strings.to_hash_bucket_fast(start, num_buckets), tf.int32)
    ids = tf.where(in_vocabulary < 0, tf.cast(table.size(), tf.int32) + bucket, in_vocabulary)
    is_long = tf.strings.length(flat, unit="UTF8_CHAR") > 4
    stems = tf.where(is_long, tf.strings.regex_replace(flat, _ENDING, ""), flat)
    letters = tf.strings.substr(flat, 0, _NUM_LETTERS, unit="UTF8_CHAR")
    keys = tf.strings.to_hash_bucket_fast(tf.stack([flat, stems, letters], axis=-1), _LARGEST)
    keys = tf.cast(keys, tf.int32) + 1  # 0 is padding
    padded = {
        name: text.pad(split.with_flat_values(values), time)
        for name, values in (("ids", ids), ("keys", keys))
    }
    return {**padded, "mask": mask}


def shares_as_given(string: str, shares) -> list[tuple[str, float]]:
    """A text in the pieces in which a person wrote it, each with the shares of its words.

    Args:
        string: as given; "n_jobs: 442" has the pieces "n_jobs:" and "442", and three words.
        shares: float (time,) of its words, as the model reads them; words beyond them are cut off.
    """
    pieces = string.split()
    # No word goes over a space, so pieces have the words of the whole text.
    ends = words(tf.constant(pieces, tf.string)).row_splits.numpy().tolist()
    places = zip(pieces, ends, ends[1:], strict=False)
    return [(piece, float(sum(shares[start:end]))) for piece, start, end in places]
