"""Strings of phones from the head that learned without times.

Connectionist temporal classification (Graves et al. 2006, https://doi.org/10.1145/1143844.1143891):
the probability of a string is the sum over all ways to spread it over the frames, with blanks
between; equal phones in a row need a blank. Blank is column 0.
"""

import tensorflow as tf
from keras import ops


def best_path(logits: tf.Tensor, frame_mask: tf.Tensor) -> tf.Tensor:
    """The best symbol of each frame, repeats merged and blanks left out.

    Shapes: logits float32 (batch, frames, 1 + choices), frame_mask bool (batch, frames), padding
    on the right -> int32 (batch, phones), -1 where there is none.
    """
    return _decode(logits, frame_mask, strategy="greedy")


def beam_search(logits: tf.Tensor, frame_mask: tf.Tensor, *, width: int) -> tf.Tensor:
    """The most probable string among those that begin with the `width` best prefixes.

    Shapes as of `best_path`. Prefix search of Graves et al.; exact when `width` leaves none out.
    """
    return _decode(logits, frame_mask, strategy="beam_search", beam_width=width)


def _decode(logits: tf.Tensor, frame_mask: tf.Tensor, **options) -> tf.Tensor:
    frames = tf.reduce_sum(tf.cast(frame_mask, tf.int32), axis=1)
    found, _ = ops.ctc_decode(logits, frames, mask_index=0, **options)
    return tf.where(found[0] > 0, found[0] - 1, -1)
