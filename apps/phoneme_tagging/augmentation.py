"""Utterances as training hears them: a little faster, louder, noisier, with holes in the spectrum.

All draws are functions of a seed, int64 (2,), and so of (seed, epoch, place in the data).
"""

import tensorflow as tf

from apps.phoneme_tagging.config import AugmentConfig

BLOCK = 64  # samples: speeds go in steps of 4 ms by the utterance's length
LONGEST_MASK = 8  # frames
WIDEST_MASK = 1 / 6  # of the filters


def change_sound(
    waveform: tf.Tensor, seed: tf.Tensor, config: AugmentConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Speed, then noise, then gain.

    Args:
        waveform: float32 (samples,).
        seed: int64 (2,).
        config: what is on.

    Returns:
        float32 (other samples,), and by what its times have grown, float64.
    """
    speed, gain, amount, noise = tf.unstack(tf.random.split(seed, 4))
    stretch = tf.constant(1.0, tf.float64)
    if config.speed:
        factor = tf.random.stateless_uniform([], speed, 1 - config.speed, 1 + config.speed)
        waveform, stretch = play(waveform, factor)
    if config.noise:
        level = tf.random.stateless_uniform([], amount, 0.0, config.noise)
        level *= tf.math.reduce_std(waveform)
        waveform += level * tf.random.stateless_normal(tf.shape(waveform), noise)
    if config.gain_db:
        decibels = tf.random.stateless_uniform([], gain, -config.gain_db, config.gain_db)
        waveform *= 10.0 ** (decibels / 20.0)
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
    kept = (tf.minimum(before, after) * BLOCK) // 2 + 1
    spectrum = tf.pad(spectrum[:kept], [[0, after * BLOCK // 2 + 1 - kept]])
    stretch = after / before  # float64
    played = tf.signal.irfft(spectrum, [after * BLOCK]) * tf.cast(stretch, tf.float32)
    return played[: tf.cast(tf.round(tf.cast(size, tf.float64) * stretch), tf.int32)], stretch


def mask_spectrum(log_mel: tf.Tensor, seed: tf.Tensor, config: AugmentConfig) -> tf.Tensor:
    """SpecAugment (Park et al. 2019, https://arxiv.org/abs/1904.08779), holes filled by the mean.

    Shapes: log_mel float32 (frames, num_mels), seed int64 (2,) -> (frames, num_mels).
    """
    frames, filters = tf.shape(log_mel)[0], log_mel.shape[1]
    in_time, in_frequency = tf.unstack(tf.random.split(seed, 2))
    widest = max(1, round(WIDEST_MASK * filters))
    hidden = (
        _stretches(config.time_masks, frames, LONGEST_MASK, in_time)[:, None]
        | _stretches(config.frequency_masks, filters, widest, in_frequency)[None]
    )
    return tf.where(hidden, tf.reduce_mean(log_mel, axis=0), log_mel)


def _stretches(count: int, size, longest: int, seed: tf.Tensor) -> tf.Tensor:
    """Bool (size,), True in `count` stretches of 0 to `longest` places."""
    lengths, starts = tf.unstack(tf.random.split(seed, 2))
    length = tf.random.stateless_uniform([count, 1], lengths, 0, longest + 1, tf.int32)
    room = tf.cast(tf.maximum(size - length, 0) + 1, tf.float32)
    start = tf.cast(room * tf.random.stateless_uniform([count, 1], starts), tf.int32)
    place = tf.range(size)
    return tf.reduce_any((start <= place) & (place < start + length), axis=0)
