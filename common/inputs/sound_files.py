"""Sound files to what the apps take: RIFF WAVE and NIST SPHERE -> float32 (samples,) at 16 kHz.

Outside the graph: any sample rate, 8 to 32 bits or float, any channels.
"""

import io
import math
import struct
import warnings
from pathlib import Path

import numpy as np
from scipy import signal
from scipy.io import wavfile

from common.inputs.audio import SAMPLE_RATE, WINDOW
from common.runs.errors import UserError

MAX_BYTES = 2**30  # an hour of 16-bit speech has a ninth of it


def read(path: Path) -> np.ndarray:
    """Reads a sound file as mono, float32 (samples,) in [-1, 1] at 16 kHz.

    Raises:
        UserError: the file is absent, damaged, too short or too large, or of another kind.
    """
    if not path.is_file():
        raise UserError(f"expected a sound file, found none at {path}")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path}: expected at most {MAX_BYTES >> 20} MiB: cut it into parts")
    try:
        return decode(path.read_bytes())
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def decode(encoded: bytes) -> np.ndarray:
    """What `read` gives, of the bytes of a file.

    Raises:
        UserError: says what is wrong.
    """
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WAVE":
        samples, rate = _decode_riff(encoded)
    elif encoded[:7] == b"NIST_1A":
        samples, rate = _decode_sphere(encoded)
    else:
        raise UserError(
            f"expected a RIFF WAVE or NIST SPHERE file, got {len(encoded)} bytes that begin with "
            f"{encoded[:4]!r}: convert the sound to WAV"
        )
    mono = samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise UserError(
            f"expected numbers as samples, got {np.sum(~np.isfinite(mono))} that are NaN or "
            "infinite: write the file again"
        )
    mono = resample(mono, rate)
    if len(mono) < WINDOW:
        raise UserError(
            f"expected at least 25 ms of sound, got {1000 * len(mono) / SAMPLE_RATE:.0f} ms: "
            "use a longer recording"
        )
    return np.clip(mono, -1.0, 1.0).astype(np.float32)


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """Polyphase resampling of float (samples,) from `rate` to 16 kHz."""
    if rate == SAMPLE_RATE or not len(samples):
        return samples
    shared = math.gcd(rate, SAMPLE_RATE)
    return signal.resample_poly(samples, SAMPLE_RATE // shared, rate // shared)


def encode(samples: np.ndarray) -> bytes:
    """Float (samples,) at 16 kHz -> the bytes of a 16-bit mono WAV file."""
    file = io.BytesIO()
    wavfile.write(file, SAMPLE_RATE, np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16))
    return file.getvalue()


def _decode_riff(encoded: bytes) -> tuple[np.ndarray, int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks that hold no sound
        if encoded[4:8] != b"\xff" * 4:  # a stream does not know its size
            warnings.filterwarnings("error", "Reached EOF prematurely", wavfile.WavFileWarning)
        try:
            rate, samples = wavfile.read(io.BytesIO(encoded))
        # Names and zeros: what SciPy's reader stumbles over when chunks are missing.
        except (ValueError, NameError, ZeroDivisionError, struct.error, UserWarning) as error:
            raise UserError(
                "expected a whole WAV file of PCM or float samples, it is cut short or of another "
                f"kind ({' '.join(str(error).split())}): get it again or convert it to 16-bit PCM"
            ) from None
    if not 1000 <= rate <= 400_000:
        raise UserError(f"expected sound at 1 to 400 kHz, got {rate} Hz: convert it to 16 kHz")
    if samples.dtype == np.uint8:  # the one kind without a sign
        values = samples / 128.0 - 1.0
    elif samples.dtype.kind == "i":  # 24 bits come in the upper ones of 32
        values = samples / -float(np.iinfo(samples.dtype).min)
    else:
        values = samples.astype(np.float64)
    return values if values.ndim == 2 else values[:, None], rate


def _decode_sphere(encoded: bytes) -> tuple[np.ndarray, int]:
    """NIST SPHERE: a text header of `name -type value` lines, then samples."""
    try:
        size = int(encoded[8:16])
        lines = encoded[16:size].decode("ascii").split("end_head")[0].splitlines()
        fields = {line.split()[0]: line.split()[-1] for line in lines if line.strip()}
        rate, channels = int(fields["sample_rate"]), int(fields.get("channel_count", 1))
        width, count = int(fields["sample_n_bytes"]), int(fields["sample_count"])
    except (ValueError, KeyError) as error:
        raise UserError(f"expected a NIST SPHERE header, it is damaged ({error})") from None
    coding = fields.get("sample_coding", "pcm")
    if width != 2 or coding != "pcm":
        raise UserError(
            f"expected 16-bit PCM in the SPHERE file, got {8 * width}-bit {coding}: "
            "convert it to WAV with sph2pipe or sox"
        )
    data = encoded[size : size + 2 * count * channels]
    if len(data) < 2 * count * channels:
        raise UserError(
            f"expected {count} samples, got {len(data) // 2 // channels}: the file is cut short"
        )
    order = ">" if fields.get("sample_byte_format", "01") == "10" else "<"
    return np.frombuffer(data, f"{order}i2").reshape(-1, channels) / 2.0**15, rate
