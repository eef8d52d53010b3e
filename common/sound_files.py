"""Sound files to what the apps take: RIFF WAVE and NIST SPHERE -> float32 (samples,) at 16 kHz.

Plain Python and NumPy, outside the graph: any sample rate, 8 to 32 bits or float, any channels.
"""

import math
import struct
from pathlib import Path

import numpy as np
from scipy import signal

from common.audio import SAMPLE_RATE, WINDOW
from common.errors import UserError

MAX_BYTES = 2**30  # an hour of 16-bit speech has a ninth of it
_WIDTHS = {8: "u1", 16: "<i2", 32: "<i4"}
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


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
    data = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    rate = SAMPLE_RATE
    header = struct.pack("<4sIHHIIHH", b"fmt ", 16, _PCM, 1, rate, 2 * rate, 2, 16)
    body = b"WAVE" + header + struct.pack("<4sI", b"data", len(data)) + data
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def _decode_riff(encoded: bytes) -> tuple[np.ndarray, int]:
    place, form = 12, None
    while place + 8 <= len(encoded):
        name, size = struct.unpack_from("<4sI", encoded, place)
        chunk = encoded[place + 8 : place + 8 + size]
        if name == b"fmt " and len(chunk) >= 16:
            form = struct.unpack_from("<HHIIHH", chunk)
            if form[0] == _EXTENSIBLE and len(chunk) >= 26:
                form = (struct.unpack_from("<H", chunk, 24)[0], *form[1:])
        if name == b"data" and form is not None:
            if len(chunk) < size and size < 0xFFFFFFFF:  # a stream does not know its size
                raise UserError(
                    f"expected {size} bytes of sound, got {len(chunk)}: the file is cut short"
                )
            kind, channels, rate, _, _, bits = form
            return _as_floats(chunk, kind, bits, channels, rate), rate
        place += 8 + size + size % 2
    raise UserError("expected a WAV header with format and data, it is cut short: get it again")


def _as_floats(data: bytes, kind: int, bits: int, channels: int, rate: int) -> np.ndarray:
    """(samples, channels) in [-1, 1]."""
    known = (kind == _PCM and bits in (8, 16, 24, 32)) or (kind == _FLOAT and bits in (32, 64))
    if not known or not channels or not 1000 <= rate <= 400_000:
        raise UserError(
            "expected 8, 16, 24 or 32-bit PCM or float at 1 to 400 kHz, got format "
            f"{kind} with {bits} bits, {channels} channels, {rate} Hz: convert it to 16-bit PCM"
        )
    width = bits // 8 * channels
    data = data[: len(data) // width * width]
    if kind == _FLOAT:
        values = np.frombuffer(data, f"<f{bits // 8}").astype(np.float64)
    elif bits == 24:
        bytes_ = np.frombuffer(data, "u1").reshape(-1, 3)
        padded = np.pad(bytes_, ((0, 0), (1, 0)))  # the low byte of 32 bits stays zero
        values = np.ascontiguousarray(padded).view("<i4")[:, 0] / 2.0**31
    else:
        values = np.frombuffer(data, _WIDTHS[bits]) / 2.0 ** (bits - 1)
        values = values - 1.0 if bits == 8 else values  # 8 bits are unsigned
    return values.reshape(-1, channels)


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
