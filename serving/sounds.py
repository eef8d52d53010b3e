"""Sound as files and as numbers."""

import io
import wave
from fractions import Fraction

import numpy as np


def resampled(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Samples (time,) or (time, channels), integers or floats -> float (time,) at `new_rate`."""
    import scipy.signal  # slow to import, and only the page needs it

    sound = samples.astype(np.float64)
    if np.issubdtype(samples.dtype, np.integer):
        sound /= -float(np.iinfo(samples.dtype).min)
    if sound.ndim > 1:
        sound = sound.mean(axis=1)
    ratio = Fraction(new_rate, rate)
    return scipy.signal.resample_poly(sound, ratio.numerator, ratio.denominator)


def encode(sound: np.ndarray, rate: int) -> bytes:
    """Float (time,) in [-1, 1] -> a WAV file of 16-bit samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, rate, 0, "NONE", ""))
        writer.writeframes((sound * 32767).round().clip(-32768, 32767).astype("<i2").tobytes())
    return file.getvalue()
