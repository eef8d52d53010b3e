"""Bytes and numbers in the headers of encoded files, string (), in the graph."""

import tensorflow as tf


def piece(encoded: tf.Tensor, place: tf.Tensor | int, size: tf.Tensor | int) -> tf.Tensor:
    """At most `size` bytes from `place` on, string (); none where the file ends before."""
    end = tf.cast(tf.strings.length(encoded), tf.int64)
    place = tf.clip_by_value(tf.cast(place, tf.int64), 0, end)
    return tf.strings.substr(encoded, place, tf.cast(size, tf.int64))


def integer(
    encoded: tf.Tensor, place: tf.Tensor | int, width: int, *, little_endian: bool
) -> tf.Tensor:
    """The unsigned number of 2 or 4 bytes at `place`, int64 (); bytes past the end are 0."""
    zeros = b"\0" * width
    raw = tf.strings.substr(tf.strings.join([piece(encoded, place, width), zeros]), 0, width)
    kind = tf.uint16 if width == 2 else tf.int32
    number = tf.io.decode_raw(raw, kind, little_endian=little_endian)[0]
    return tf.cast(number, tf.int64) % 2 ** (8 * width)
