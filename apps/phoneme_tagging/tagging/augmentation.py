"""Utterances as training hears them: a little faster or slower, by a seed."""

import tensorflow as tf

BLOCK = 64  # samples: speeds go in steps of 4 ms by the utterance's length


def change_speed(
    waveform: tf.Tensor, seed: tf.Tensor, *, most: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """`play` at a factor between 1 - most and 1 + most, drawn by an int64 (2,) seed."""
    seed = tf.unstack(tf.random.split(tf.random.split(seed)[0], 4))[0]
    return play(waveform, tf.random.stateless_uniform([], seed, 1 - most, 1 + most))


def play(waveform: tf.Tensor, factor: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The same sound about `factor` times as fast, by cutting or padding its spectrum.

    float32 (samples,), float32 () -> float32 (other samples,), exact growth of times float64 ()
    """
    # In whole blocks: the Fourier transform of a prime length takes twice the time.
    size = tf.size(waveform)
    before = -(-size // BLOCK)
    after = tf.cast(tf.round(tf.cast(before, tf.float32) / factor), tf.int32)
    spectrum = tf.signal.rfft(tf.pad(waveform, [[0, before * BLOCK - size]]))
    bins = (tf.minimum(before, after) * BLOCK) // 2 + 1
    spectrum = tf.pad(spectrum[:bins], [[0, after * BLOCK // 2 + 1 - bins]])
    stretch = after / before  # float64
    played = tf.signal.irfft(spectrum, [after * BLOCK]) * tf.cast(stretch, tf.float32)
    return played[: tf.cast(tf.round(tf.cast(size, tf.float64) * stretch), tf.int32)], stretch
