"""RIFF WAVE files to samples, in NumPy alone: this file also stands beside runtime.py in exports.

Recorders that stream do not know the sizes they write, and others miscount them. One rule holds,
here and in the graph (`audio.decode_wav`): the size of a chunk is believed as far as the file goes,
and samples of size 0 go to its end. The size of the whole file is not needed; only where it covers
that of the samples, and more than a header is missing, the file has been cut short.
"""

import struct
from typing import NamedTuple

import numpy as np

MAX_CHUNKS = 1000  # that are looked at; a hostile file has a million
UNKNOWN = 0x7FFF0000  # sizes from here on stand for "until the end"
HEADER = 44  # bytes, by which writers miscount
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
_KINDS = {PCM: "PCM", FLOAT: "float", 2: "ADPCM", 6: "ALAW", 7: "MULAW", 17: "ADPCM", 85: "MP3"}
_TYPES = {(PCM, 2): "<i2", (PCM, 4): "<i4", (FLOAT, 4): "<f4", (FLOAT, 8): "<f8"}


class Sound(NamedTuple):
    """Samples, float64 (samples, channels), in [-1, 1] where they are stored as integers."""

    samples: np.ndarray
    rate: int  # in Hz
    coding: str  # as "16-bit PCM"


def read(encoded: bytes) -> Sound:
    """Reads PCM of 8, 16, 24 or 32 bits, or float of 32 or 64.

    Raises:
        ValueError: says what is wrong.
    """
    if encoded[:4] != b"RIFF" or encoded[8:12] != b"WAVE":
        raise ValueError(f"expected a RIFF WAVE file, got bytes that begin with {encoded[:4]!r}")
    chunks = _find_chunks(encoded)
    for name in (b"fmt ", b"data"):
        if name not in chunks:
            raise ValueError(
                f"expected a WAV file with the chunk '{name.decode()}', got {len(encoded)} bytes "
                "without one: it is cut short or damaged, get it again"
            )
    start, _ = chunks[b"fmt "]
    header = encoded[start : start + 26].ljust(26, b"\0")
    kind, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", header)
    if kind == EXTENSIBLE:
        (kind,) = struct.unpack_from("<H", header, 24)
    width = max(block // max(channels, 1), (bits + 7) // 8)  # a sample may not fill its bytes
    coding = f"{8 * width}-bit {_KINDS.get(kind, f'format {kind}')}"
    if not channels or (kind, width) not in [*_TYPES, (PCM, 1), (PCM, 3)]:
        raise ValueError(
            "expected a WAV file of PCM in 8 to 32 bits or float in 32 or 64, got "
            f"{channels} channels of {coding}: convert it to 16-bit PCM"
        )
    start, size = chunks[b"data"]
    whole = int.from_bytes(encoded[4:8], "little")
    missing = start + size - len(encoded)
    if missing > HEADER and max(size, whole) < UNKNOWN and whole + 8 >= start + size:
        raise ValueError(
            f"expected {size} bytes of samples by both sizes in the WAV file, {missing} are "
            "missing: it is cut short, get it again"
        )
    size = min(size or len(encoded), len(encoded) - start) // (width * channels) * width * channels
    data = np.frombuffer(encoded, np.uint8)[start : start + size]
    return Sound(_numbers(data, kind, width).reshape(-1, channels), rate, coding)


def _find_chunks(encoded: bytes) -> dict[bytes, tuple[int, int]]:
    """First byte and declared size of the first chunk of each name, until both needed are there."""
    chunks, place, needed = {}, 12, (b"fmt ", b"data")
    for _ in range(MAX_CHUNKS):
        if place + 8 > len(encoded) or all(name in chunks for name in needed):
            break
        name, size = struct.unpack_from("<4sI", encoded, place)
        chunks.setdefault(name, (place + 8, size))
        if name == b"data" and size == 0:
            break
        place += 8 + size
        # An odd chunk is followed by a byte more, but for writers that do not know of it.
        place += size % 2 if encoded[place : place + 4] not in needed else 0
    return chunks


def _numbers(data: np.ndarray, kind: int, width: int) -> np.ndarray:
    """Bytes, uint8 (n * width,) -> float64 (n,)."""
    if width == 1:  # the one kind without a sign
        return data / 128.0 - 1.0
    if width == 3:  # into the upper bytes of four
        data = np.pad(data.reshape(-1, 3), ((0, 0), (1, 0))).reshape(-1)
        width = 4
    values = data.view(_TYPES[kind, width])
    return values / 2.0 ** (8 * width - 1) if kind == PCM else values.astype(np.float64)
