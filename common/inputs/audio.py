"""Sound in the graph: WAV files -> waveform (samples,) at 16 kHz -> features (batch, frames, dim).

One function computes them, in tf.data and in the SavedModel alike. Frame t stands for the 10 ms
from sample 160 t on; its window of 25 ms is centred on them, with zeros beyond both ends.
Filters and cosine transform are those of librosa (`htk=True, norm=None`; `norm="ortho"`).
"""

import functools
from typing import Literal

import numpy as np
import tensorflow as tf

from common.inputs import headers, wav

SAMPLE_RATE = 16_000
FRAME_SHIFT = 160  # samples: 10 ms
FRAME_S = FRAME_SHIFT / SAMPLE_RATE
WINDOW = 400  # samples: 25 ms
FFT = 512
NUM_CEPSTRA = 12
PRE_EMPHASIS = 0.97
FLOOR = 1e-7  # of a power: about what rounding to 16 bits adds; digital silence has none
DELTA_FRAMES = 2  # on either side

Kind = Literal["mfcc", "log_mel"]


def feature_dim(kind: Kind, num_mels: int) -> int:
    """Numbers a frame."""
    return 3 * ((NUM_CEPSTRA if kind == "mfcc" else num_mels) + 1)


def num_frames(num_samples: tf.Tensor) -> tf.Tensor:
    """Whole frame shifts in so many samples, any shape."""
    return num_samples // FRAME_SHIFT


def features(
    waveform: tf.Tensor, num_samples: tf.Tensor, *, kind: Kind, num_mels: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """MFCC or log-mel energies with the log energy, and their first and second derivatives.

    Args:
        waveform: float32 (batch, samples) in [-1, 1] at 16 kHz; what lies beyond `num_samples` is
            not looked at.
        num_samples: int32 (batch,).
        kind: "mfcc" (12 coefficients, without the constant one) or "log_mel".
        num_mels: filters from 0 to 8 kHz.

    Returns:
        float32 (batch, frames, feature_dim), zeros at padded frames, and frame_mask bool
        (batch, frames), True = real.
    """
    log_mel, energy = log_mel_energies(waveform, num_samples, num_mels=num_mels)
    frames = num_frames(num_samples)
    mask = tf.sequence_mask(frames, tf.shape(log_mel)[1])
    values = log_mel
    if kind == "mfcc":
        values = tf.signal.mfccs_from_log_mel_spectrograms(log_mel)[..., 1 : NUM_CEPSTRA + 1]
    static = tf.concat([values, energy], axis=-1)
    first = deltas(static, frames)
    joined = tf.concat([static, first, deltas(first, frames)], axis=-1)
    joined.set_shape([None, None, feature_dim(kind, num_mels)])
    return tf.where(mask[..., None], joined, 0.0), mask


def log_mel_energies(
    waveform: tf.Tensor, num_samples: tf.Tensor, *, num_mels: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Logarithms of the filters' energies and of the whole energy, after pre-emphasis.

    float32 (batch, samples), int32 (batch,) -> (batch, frames, num_mels), (batch, frames, 1)
    """
    before = tf.pad(waveform, [[0, 0], [1, 0]])[:, :-1]
    emphasised = waveform - PRE_EMPHASIS * before
    # Cut after the pre-emphasis, which would make a click of the step down to the padding.
    real = tf.sequence_mask(num_samples, tf.shape(waveform)[1])
    emphasised = tf.where(real, emphasised, 0.0)  # a product would let NaN through
    margin = (WINDOW - FRAME_SHIFT) // 2
    padded = tf.pad(emphasised, [[0, 0], [margin, margin]])
    window = functools.partial(tf.signal.hamming_window, periodic=True)
    spectrum = tf.signal.stft(padded, WINDOW, FRAME_SHIFT, FFT, window_fn=window)
    power = tf.abs(spectrum) ** 2  # (batch, frames, FFT / 2 + 1)
    mel = tf.matmul(power, tf.constant(mel_filters(num_mels)))
    energy = tf.reduce_sum(power, axis=-1, keepdims=True) / FFT
    return tf.math.log(tf.maximum(mel, FLOOR)), tf.math.log(tf.maximum(energy, FLOOR))


def deltas(values: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
    """Slopes by regression over two frames on either side; the ends are repeated.

    d[t] = sum_n n (c[t + n] - c[t - n]) / (2 sum_n n^2)

    Shapes: values (batch, time, dim), frames int32 (batch,) -> (batch, time, dim).
    """
    place = tf.range(tf.shape(values)[1])[None]
    last = tf.maximum(frames - 1, 0)[:, None]
    total = tf.zeros_like(values)
    for step in range(1, DELTA_FRAMES + 1):
        after = tf.gather(values, tf.minimum(place + step, last), batch_dims=1)
        before = tf.gather(values, tf.minimum(tf.maximum(place - step, 0), last), batch_dims=1)
        total += step * (after - before)
    return total / (2 * sum(step**2 for step in range(1, DELTA_FRAMES + 1)))


@functools.cache
def mel_filters(num_mels: int) -> np.ndarray:
    """Triangles of equal width in mel, straight in Hz: float32 (FFT / 2 + 1, num_mels)."""
    top = 2595.0 * np.log10(1.0 + SAMPLE_RATE / 2 / 700.0)
    edges = 700.0 * (10.0 ** (np.linspace(0.0, top, num_mels + 2) / 2595.0) - 1.0)
    hertz = np.linspace(0.0, SAMPLE_RATE / 2, FFT // 2 + 1)[:, None]
    rising = (hertz - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - hertz) / np.diff(edges)[1:]
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


def decode_wav(encoded: tf.Tensor) -> tf.Tensor:
    """A WAV file, 16-bit PCM at 16 kHz, string () -> mean of its channels, float32 (samples,).

    Its header is read by the rule of `wav`, so that both give the same samples.

    Raises:
        tf.errors.InvalidArgumentError: another kind of file, cut short, or of another coding.
    """

    def number(place: tf.Tensor | int, width: int) -> tf.Tensor:
        return headers.integer(encoded, place, width, little_endian=True)

    form, data = tf.unstack(_find_chunks(encoded))
    kind, channels, rate = number(form, 2), number(form + 2, 2), number(form + 4, 4)
    kind = tf.where(kind == wav.EXTENSIBLE, number(form + 24, 2), kind)
    block, bits = number(form + 12, 2), number(form + 14, 2)
    width = tf.maximum(block // tf.maximum(channels, 1), (bits + 7) // 8)
    size, whole = number(data - 4, 4), number(4, 4)
    missing = data + size - tf.cast(tf.strings.length(encoded), tf.int64)
    sized = (tf.maximum(size, whole) < wav.UNKNOWN) & (whole + 8 >= data + size)
    wrong = "wav: expected a RIFF WAVE file of 16-bit PCM at 16,000 samples a second,"
    checks = []
    for is_right, *message in (
        (headers.piece(encoded, 0, 4) == b"RIFF", "got another kind"),
        (headers.piece(encoded, 8, 4) == b"WAVE", "got another kind of RIFF"),
        (form > 0, "got no chunk fmt: it is cut short or damaged"),
        (data > 0, "got no chunk data: it is cut short or damaged"),
        ((missing <= wav.HEADER) | ~sized, "got one that is cut short, bytes missing:", missing),
        (kind == wav.PCM, "got format:", kind),
        (width == 2, "got bits:", 8 * width),
        (channels > 0, "got channels:", channels),
        (rate == SAMPLE_RATE, "got samples a second:", rate),
    ):
        with tf.control_dependencies(checks):  # the first that fails speaks
            checks = [tf.debugging.Assert(is_right, [wrong, *message])]
    with tf.control_dependencies(checks):
        frame = 2 * tf.maximum(channels, 1)
        size = tf.where(size == 0, tf.constant(wav.UNKNOWN, tf.int64), size)
        samples = headers.piece(encoded, data, size)
        whole_frames = tf.cast(tf.strings.length(samples), tf.int64) // frame * frame
        numbers = tf.io.decode_raw(headers.piece(samples, 0, whole_frames), tf.int16)
    sound = tf.cast(tf.reshape(numbers, tf.stack([-1, channels])), tf.float32) / 2.0**15
    return tf.reduce_mean(sound, axis=1)


def _find_chunks(encoded: tf.Tensor) -> tf.Tensor:
    """First bytes of the chunks `fmt ` and `data`, int64 (2,), or 0; as `wav` finds them."""
    end, needed = tf.cast(tf.strings.length(encoded), tf.int64), tf.constant([b"fmt ", b"data"])

    def is_needed(place: tf.Tensor, number: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
        open_ = (place + 8 <= end) & (number < wav.MAX_CHUNKS)
        return open_ & tf.reduce_any(places == 0)

    def next_chunk(place: tf.Tensor, number: tf.Tensor, places: tf.Tensor):
        size = headers.integer(encoded, place + 4, 4, little_endian=True)
        is_this = headers.piece(encoded, place, 4) == needed
        places = tf.where(is_this & (places == 0), place + 8, places)
        after = place + 8 + size
        is_padded = tf.reduce_all(headers.piece(encoded, after, 4) != needed)
        after += tf.where(is_padded, size % 2, 0)
        return tf.where(is_this[1] & (size == 0), end, after), number + 1, places

    start = (tf.constant(12, tf.int64), tf.constant(0), tf.zeros([2], tf.int64))
    return tf.while_loop(is_needed, next_chunk, start)[2]
