"""Sound files to what the apps take: RIFF WAVE and NIST SPHERE -> float32 (samples,) at 16 kHz.

Outside the graph: any sample rate, 8 to 32 bits or float, any channels.
"""

import io
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import signal
from scipy.io import wavfile

from common.inputs import wav
from common.inputs.audio import FRAME_SHIFT, SAMPLE_RATE, WINDOW
from common.runs.errors import UserError

MAX_BYTES = 2**30  # an hour of 16-bit speech has a ninth of it
_CHUNK = 3200  # bytes of raw samples: 100 ms
# What files of sound begin with, read here or not; raw samples hardly ever do.
_MAGIC = (
    *(b"RIFF", b"RIFX", b"RF64", b"NIST", b"FORM", b".snd", b"caff"),
    *(b"fLaC", b"OggS", b"ID3", b"\x1aE\xdf\xa3"),
)


def read(path: Path) -> np.ndarray:
    """Reads a sound file as mono, float32 (samples,) in [-1, 1] at 16 kHz.

    Raises:
        UserError: the file is absent, damaged, too short or too large, or of another kind.
    """
    if not path.exists() or path.is_dir():  # a pipe is neither
        raise UserError(f"expected a sound file, found none at {path}")
    try:
        with path.open("rb") as file:
            return decode(file.read(MAX_BYTES + 1))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_input() -> tuple[bool, Iterator[np.ndarray]]:
    """Whether standard input is a sound file, and its samples, float (samples,) at 16 kHz.

    Those of a file come at once; raw 16-bit samples as they are written, with an empty end.

    Raises:
        UserError: less than 10 ms, or a file that cannot be read.
    """
    source = sys.stdin.buffer if sys.stdin else io.BytesIO()  # a shell may close it
    first = source.read(_CHUNK)
    if first.startswith(_MAGIC) or first[4:8] == b"ftyp":
        return True, iter([decode(first + source.read(MAX_BYTES))])
    if len(first) < 2 * FRAME_SHIFT:
        raise UserError(
            "expected a WAV file or at least 10 ms of raw 16-bit samples from standard input, got "
            f"{len(first)} bytes: look at the program that writes them"
        )

    def samples() -> Iterator[np.ndarray]:
        raw = first
        while len(raw) > 1:
            yield np.frombuffer(raw[: len(raw) // 2 * 2], "<i2") / 2.0**15
            raw = source.read(_CHUNK)
        yield np.zeros(0)

    return False, samples()


def decode(encoded: bytes) -> np.ndarray:
    """What `read` gives, of the bytes of a file.

    Raises:
        UserError: says what is wrong.
    """
    if len(encoded) > MAX_BYTES:
        raise UserError(f"expected at most {MAX_BYTES >> 20} MiB of sound: cut it into parts")
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WAVE":
        try:
            samples, rate, _ = wav.read(encoded)
        except ValueError as error:
            raise UserError(str(error)) from None
    elif encoded[:7] == b"NIST_1A":
        samples, rate = _decode_sphere(encoded)
    else:
        raise UserError(
            f"expected a RIFF WAVE or NIST SPHERE file, got {len(encoded)} bytes that begin with "
            f"{encoded[:4]!r}: convert the sound to WAV"
        )
    if not 1000 <= rate <= 400_000:
        raise UserError(f"expected sound at 1 to 400 kHz, got {rate} Hz: convert it to 16 kHz")
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
    if min(size, channels, count + 1) < 1:
        raise UserError(
            f"expected a NIST SPHERE header, it is damaged: {size} bytes of header, "
            f"{channels} channels, {count} samples"
        )
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
