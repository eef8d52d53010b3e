"""Unicode's composed form (NFC) inside a TensorFlow graph, which has no operation for it.

"é" may be one code point, or "e" with an accent after it: keyboards, file systems and web pages
differ. The steps are those of the standard, https://unicode.org/reports/tr15, on the code points of
all texts at once: take characters apart, order the marks, compose. The tables are those of Python's
unicodedata, as constants. They hold all that NFC changes: code points below U+20000, and the
compatibility ideographs from U+2F800 on.
"""

import functools
import itertools
import unicodedata
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

_CODES = (range(0xC0, 0x20000), range(0x2F800, 0x2FA1E))
_LONGEST = 4  # code points of a character taken apart, so that three rounds compose it
_PAIR = 1 << 21  # above all code points: first * _PAIR + second is one number
# Syllables of Hangul are composed by rule: a leading consonant, a vowel, perhaps a trailing one.
_SYLLABLE, _LEAD, _VOWEL, _TRAIL = 0xAC00, 0x1100, 0x1161, 0x11A7
_NUM_SYLLABLES, _NUM_LEADS, _NUM_VOWELS, _NUM_TRAILS = 11172, 19, 21, 28


def compose(text: tf.Tensor) -> tf.Tensor:
    """Characters composed as `unicodedata.normalize("NFC", ...)` does: "e\\u0301" -> "é".

    Args:
        text: string, any shape, valid UTF-8. Where no text has a mark or another character that NFC
            may change, such as plain ASCII, one pass of a regular expression is all that is done.

    Returns:
        string, the same shape.
    """
    unchanged = tf.reduce_all(tf.strings.regex_full_match(text, _tables().unchanged))
    composed = tf.cond(unchanged, lambda: tf.identity(text), lambda: _compose_all(text))
    return tf.ensure_shape(composed, text.shape)


class _Tables(NamedTuple):
    """What Unicode says of characters."""

    apart: dict[int, tuple[int, ...]]  # by code point, -1 at the end of shorter ones
    whole: dict[int, int]  # by pair
    order: dict[int, int]  # of marks, above 0
    unchanged: str  # a pattern of texts that NFC leaves alone


@functools.cache
def _tables() -> _Tables:
    apart, whole, order = {}, {}, {}
    may_change = {*range(_VOWEL, _VOWEL + _NUM_VOWELS), *range(_TRAIL, _TRAIL + _NUM_TRAILS)}
    for code in itertools.chain(*_CODES):
        character = chr(code)
        if combining := unicodedata.combining(character):
            order[code] = combining
        mapping = unicodedata.decomposition(character)
        if mapping and not mapping.startswith("<"):
            parts = [*map(ord, unicodedata.normalize("NFD", character))]
            apart[code] = (*parts, *[-1] * (_LONGEST - len(parts)))
            if unicodedata.normalize("NFC", character) == character:
                first, second = (int(part, 16) for part in mapping.split())
                whole[first * _PAIR + second] = code
                may_change.add(second)
            else:
                may_change.add(code)
    ranges = []
    for code in sorted(may_change | order.keys()):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    pattern = "".join(f"\\x{{{first:X}}}-\\x{{{last:X}}}" for first, last in ranges)
    return _Tables(apart, whole, order, f"[^{pattern}]*")


@tf.function(
    autograph=False,
    experimental_attributes={"_noinline": True},
    input_signature=[tf.TensorSpec(None, tf.string)],
)
def _compose_all(text: tf.Tensor) -> tf.Tensor:
    """As `compose`, of any text.

    A function of its own: traced once, whoever calls it, and not passed over operation by operation
    where its branch is not taken.
    """
    tables = _tables()
    flat = tf.reshape(text, [-1])
    splits, codes = tf.raw_ops.UnicodeDecode(input=flat, input_encoding="UTF-8")
    rows = tf.ragged.row_splits_to_segment_ids(splits, out_type=tf.int32)
    codes, rows = _take_apart(codes, rows, tables)
    orders = _look_up(codes, tables.order, 0)
    runs = tf.cumsum(tf.cast(_begins(orders, rows), tf.int64))
    sorted_marks = tf.argsort(runs * 256 + tf.cast(orders, tf.int64), stable=True)
    codes, orders = tf.gather(codes, sorted_marks), tf.gather(orders, sorted_marks)
    anew = tf.TensorShape([None])
    codes, _, rows = tf.while_loop(
        lambda *_: True,
        functools.partial(_compose_once, tables=tables),
        [codes, orders, rows],
        shape_invariants=[anew, anew, anew],
        maximum_iterations=_LONGEST - 1,
    )
    splits = tf.ragged.segment_ids_to_row_splits(rows, tf.size(flat), out_type=tf.int64)
    joined = tf.raw_ops.UnicodeEncode(
        input_values=codes, input_splits=splits, output_encoding="UTF-8"
    )
    return tf.reshape(joined, tf.shape(text))


def _take_apart(codes: tf.Tensor, rows: tf.Tensor, tables: _Tables) -> tuple[tf.Tensor, tf.Tensor]:
    """Code points of all texts, and the texts they are of, with marks after their letters."""
    alone = tf.pad(codes[:, None], [[0, 0], [0, _LONGEST - 1]], constant_values=-1)
    parts = _look_up(codes, tables.apart, alone)  # (codes, _LONGEST)
    places = tf.where(parts >= 0)
    return tf.gather_nd(parts, places), tf.gather(rows, places[:, 0])


def _begins(orders: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Where a character begins, bool (codes,): not at marks, but at the first of a text."""
    return (orders == 0) | (rows != tf.concat([[-1], rows[:-1]], axis=0))


def _compose_once(
    codes: tf.Tensor, orders: tf.Tensor, rows: tf.Tensor, tables: _Tables
) -> tuple[tf.Tensor, ...]:
    """Composes each character with the first code point after it that it can be composed with."""
    begins = tf.cast(_begins(orders, rows), tf.int32)
    places = tf.range(tf.size(codes))
    # What a code point may be composed with: the last character before it.
    starts = tf.cast(tf.where(begins)[:, 0], tf.int32)
    base = tf.gather(starts, tf.maximum(tf.cumsum(begins) - 1 - begins, 0))
    composed = _compose_pairs(tf.gather(codes, base), codes, tables)
    # No mark of the same order between, which would stay in the way, and no other character.
    before = tf.concat([[0], orders[:-1]], axis=0)
    fits = (composed >= 0) & ((base == places - 1) | (before < orders))
    fits &= (base < places) & (tf.gather(rows, base) == rows)
    count = tf.cumsum(tf.cast(fits, tf.int32))
    fits &= count - 1 == tf.gather(count, base)
    new = tf.where(fits)
    codes = tf.tensor_scatter_nd_update(codes, tf.gather(base, new), tf.gather(composed, new[:, 0]))
    left = tf.where(~fits)[:, 0]
    return tuple(tf.gather(part, left) for part in (codes, orders, rows))


def _compose_pairs(first: tf.Tensor, second: tf.Tensor, tables: _Tables) -> tf.Tensor:
    """The characters that pairs of code points make, -1 where there is none."""
    pairs = tf.cast(first, tf.int64) * _PAIR + tf.cast(second, tf.int64)
    composed = _look_up(pairs, tables.whole, -1)
    lead, vowel, trail = first - _LEAD, second - _VOWEL, second - _TRAIL
    syllable = first - _SYLLABLE
    is_open = (lead >= 0) & (lead < _NUM_LEADS) & (vowel >= 0) & (vowel < _NUM_VOWELS)
    is_closed = (syllable >= 0) & (syllable < _NUM_SYLLABLES) & (syllable % _NUM_TRAILS == 0)
    is_closed &= (trail > 0) & (trail < _NUM_TRAILS)
    opened = _SYLLABLE + (lead * _NUM_VOWELS + vowel) * _NUM_TRAILS
    return tf.where(is_open, opened, tf.where(is_closed, first + trail, composed))


def _look_up(keys: tf.Tensor, table: Mapping, default) -> tf.Tensor:
    """The values of a table, int32; `default` where a key is not in it.

    No hash table: it would be a resource, which each model that is exported had to track.
    """
    known = tf.constant(sorted(table), keys.dtype)
    values = tf.constant(np.array([table[key] for key in sorted(table)], np.int32))
    places = tf.raw_ops.LowerBound(sorted_inputs=known[None], values=keys[None])[0]
    places = tf.minimum(places, len(table) - 1)
    is_known = tf.gather(known, places) == keys
    is_known = tf.reshape(is_known, [-1] + [1] * (values.shape.rank - 1))
    return tf.where(is_known, tf.gather(values, places), default)
