"""Photos turned upright by their EXIF orientation, in the graph.

A camera stores a photo as its sensor lies, and notes in EXIF how to turn it: in the segment APP1 of
a JPEG before those of its coding, or the chunk eXIf of a PNG before its pixels. Damaged EXIF counts
as none.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from common.inputs.headers import integer, piece

PNG = b"\x89PNG\r\n\x1a\n"
_MOST = 100  # parts of a header that are looked at; a hostile file has a million
_MAX_BYTES = 65_536  # of EXIF that are read; a segment of a JPEG holds no more
_TAG, _SHORT, _LONG = 0x0112, 3, 4


def turn_upright(pixels: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Turns the pixels, uint8 (height, width, 3), of an encoded image, string ()."""
    return tf.cond(_is_plain(image), lambda: pixels, lambda: _turned(pixels, image))


# Not inlined: TensorFlow would pass over each operation of a branch that is not taken.
@tf.function(
    autograph=False,
    experimental_attributes={"_noinline": True},
    input_signature=[tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([], tf.string)],
)
def _turned(pixels: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    orientation = read_orientation(image)
    turns = (orientation - 1) % 4
    sides = tf.cond(orientation > 4, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    is_reversed = [turns >= 2, (turns == 1) | (turns == 2)]  # upside down, right to left
    return tf.reverse(sides, tf.boolean_mask([0, 1], is_reversed))


def read_orientation(image: tf.Tensor) -> tf.Tensor:
    """What EXIF says of an encoded image, string (): int64 () from 1, upright, to 8."""
    kinds = [
        (piece(image, 0, 2) == b"\xff\xd8", lambda: _find_exif(image, 2, _read_segment)),
        (piece(image, 0, 8) == PNG, lambda: _find_exif(image, 8, _read_chunk)),
    ]
    exif = tf.case(kinds, default=lambda: tf.constant(""))
    return tf.cond(exif == "", lambda: tf.constant(1, tf.int64), lambda: _orientation_in(exif))


def _is_plain(image: tf.Tensor) -> tf.Tensor:
    """Whether coding or pixels begin where they do in most images: no part is looked at then."""
    head = tf.strings.join([tf.strings.substr(image, 0, 41), b"\0" * 41])

    def has(place: int, value: bytes) -> tf.Tensor:
        return tf.strings.substr(head, place, len(value)) == value

    begins = has(0, b"\xff\xd8\xff\xdb")
    begins |= has(0, b"\xff\xd8\xff\xe0\0\x10") & has(20, b"\xff\xdb")  # after JFIF
    return begins | (has(0, PNG) & has(37, b"IDAT"))


class _Part(NamedTuple):
    """A segment of a JPEG or a chunk of a PNG; tensors ()."""

    is_header: tf.Tensor  # EXIF may be in it or follow
    is_exif: tf.Tensor
    content: tf.Tensor  # place of EXIF's first byte
    size: tf.Tensor  # of EXIF
    after: tf.Tensor  # place of the next part


def _find_exif(image: tf.Tensor, first: int, read: Callable[..., _Part]) -> tf.Tensor:
    """EXIF from its byte order on, string (), or ""; the first part is at the place `first`."""

    def is_open(place: tf.Tensor, exif: tf.Tensor, is_header: tf.Tensor) -> tf.Tensor:
        return is_header & (exif == "")

    def next_part(place: tf.Tensor, exif: tf.Tensor, is_header: tf.Tensor):
        part = read(image, place)
        size = tf.where(part.is_exif, tf.clip_by_value(part.size, 0, _MAX_BYTES), 0)
        return part.after, piece(image, part.content, size), part.is_header

    start = (tf.constant(first, tf.int64), tf.constant(""), tf.constant(True))
    return tf.while_loop(is_open, next_part, start, maximum_iterations=_MOST)[1]


def _read_segment(image: tf.Tensor, place: tf.Tensor) -> _Part:
    marker = integer(image, place, 2, little_endian=False)
    size = integer(image, place + 2, 2, little_endian=False)
    is_filled = marker == 0xFFFF  # any number of FF may stand before a marker
    is_application = (marker >= 0xFFE0) & (marker <= 0xFFEF)
    return _Part(
        is_header=is_application | is_filled | (marker == 0xFFFE),  # a comment
        is_exif=(marker == 0xFFE1) & (piece(image, place + 4, 6) == b"Exif\0\0"),
        content=place + 10,
        size=size - 8,
        after=place + tf.where(~is_filled, 2 + size, 1),
    )


def _read_chunk(image: tf.Tensor, place: tf.Tensor) -> _Part:
    name = piece(image, place + 4, 4)
    size = integer(image, place, 4, little_endian=False)
    is_header = (name != b"IDAT") & (tf.strings.length(name) == 4)
    return _Part(is_header, name == b"eXIf", place + 8, size, place + 12 + size)


def _orientation_in(exif: tf.Tensor) -> tf.Tensor:
    """The orientation in the first directory of EXIF, 1 where there is none: int64 ()."""
    order = piece(exif, 0, 4)
    is_little = order == b"II*\0"

    def number(place: tf.Tensor | int, width: int) -> tf.Tensor:
        orders = (integer(exif, place, width, little_endian=little) for little in (True, False))
        return tf.where(is_little, *orders)

    first = number(4, 4) + 2
    count = tf.where(is_little | (order == b"MM\0*"), number(first - 2, 2), 0)
    raw = tf.io.decode_raw(piece(exif, first, 12 * count), tf.uint8)
    entries = tf.reshape(raw[: tf.size(raw) // 12 * 12], [-1, 12])  # tag, kind, count, value

    def column(start: int, width: int) -> tf.Tensor:
        weights = 256 ** np.arange(width)
        weights = tf.where(is_little, weights, weights[::-1])
        return tf.reduce_sum(tf.cast(entries[:, start : start + width], tf.int64) * weights, axis=1)

    tag, kind, size = column(0, 2), column(2, 2), column(4, 4)
    value = tf.where(kind == _SHORT, column(8, 2), column(8, 4))
    is_known = (tag == _TAG) & (size == 1) & ((kind == _SHORT) | (kind == _LONG))
    is_known &= (value >= 1) & (value <= 8)
    return tf.pad(tf.boolean_mask(value, is_known), [[1, 0]], constant_values=1)[-1]
