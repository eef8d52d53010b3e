"""Utterances as training hears them: a little faster or slower, a little noisier, by a seed."""

import tensorflow as tf

BLOCK = 64  # samples: speeds go in steps of 4 ms by the utterance's length


def change_sound(
    waveform: tf.Tensor, seed: tf.Tensor, *, speed: float, noise: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Speed, then noise: float32 (samples,), int64 (2,) -> (other samples,), growth as of `play`.

    `speed` is the largest change of the speed, `noise` of up to this share of the utterance's
    standard deviation.
    """
    seeds = tf.unstack(tf.random.split(tf.random.split(seed)[0], 4))
    factor = tf.random.stateless_uniform([], seeds[0], 1 - speed, 1 + speed)
    waveform, stretch = play(waveform, factor) if speed else (waveform, tf.ones([], tf.float64))
    if noise:
        level = tf.random.stateless_uniform([], seeds[2], 0.0, noise)
        level *= tf.math.reduce_std(waveform)
        waveform += level * tf.random.stateless_normal(tf.shape(waveform), seeds[3])
    return waveform, stretch


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
