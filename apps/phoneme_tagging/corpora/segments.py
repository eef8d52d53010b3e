"""Phones with their samples: checks, and stops divided into closure and release.

TIMIT labels the closure of a stop and what follows it as phones of their own; other sources name
both together "t". The release is where the energy rises most steeply.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

_CLOSURES = {
    **{"b": "bcl", "d": "dcl", "g": "gcl", "p": "pcl", "t": "tcl", "k": "kcl"},
    **{"ch": "tcl", "jh": "dcl"},
}
_AFFRICATES = ("ch", "jh")
_HOP, _WINDOW = 40, 120  # samples: 2.5 and 7.5 ms
_MIN_CLOSURE = 160  # samples
_FLAP = 640  # samples; a shorter t or d without a release was tapped, as in "butter"
_RISE_DB = 4.0  # within 5 ms


class Segment(NamedTuple):
    """A phone and its samples, `end` excluded."""

    phone: str
    start: int
    end: int


def problem(segments: Iterable[Segment], num_samples: int) -> str | None:
    """What is wrong with the phones of a recording, or None; gaps are no error."""
    last_end = 0
    segments = list(segments)
    if not segments:
        return "no phones"
    for phone, start, end in segments:
        if end <= start:
            return f"{phone} from {start} to {end} has no length"
        if start < last_end:
            return f"{phone} at {start} begins before the end of the last phone, {last_end}"
        last_end = end
    if last_end > num_samples:
        return f"phones end at {last_end}, past the end of the audio, {num_samples}"
    return None


def tidy(segments: Iterable[Segment]) -> list[Segment]:
    """Joins equal neighbours, as TIMIT has the s of "this sentence"; silent ends become h#."""
    joined: list[Segment] = []
    for segment in segments:
        if joined and (joined[-1].phone, joined[-1].end) == (segment.phone, segment.start):
            segment = segment._replace(start=joined.pop().start)
        joined.append(segment)
    for end in {0, len(joined) - 1} if joined else ():
        if joined[end].phone == "pau":
            joined[end] = joined[end]._replace(phone="h#")
    return joined


def divide_stops(segments: list[Segment], waveform: np.ndarray) -> list[Segment]:
    """The phones with stops and affricates divided into closure and release.

    One without a release is a closure, or dx where it is a short t or d.

    Args:
        segments: phones of TIMIT.
        waveform: float (samples,) at 16 kHz.
    """
    divided = []
    for segment in segments:
        closure = _CLOSURES.get(segment.phone)
        if closure is None:
            divided.append(segment)
        elif release := _release(waveform, segment):
            divided.append(Segment(closure, segment.start, release))
            divided.append(segment._replace(start=release))
        elif segment.phone in ("t", "d") and segment.end - segment.start < _FLAP:
            divided.append(segment._replace(phone="dx"))
        elif segment.phone in _AFFRICATES:
            divided.append(segment)
        else:
            divided.append(segment._replace(phone=closure))
    return divided


def _release(waveform: np.ndarray, segment: Segment) -> int | None:
    """The sample at which the energy rises most, None where it does not."""
    if segment.end - segment.start < 2 * _MIN_CLOSURE:
        return None
    first, last = segment.start // _HOP, segment.end // _HOP
    energy = _energy(waveform, first * _HOP, last * _HOP)
    rises = energy[2:] - energy[:-2]
    if rises.max() < _RISE_DB:
        return None
    steepest = (first + 1 + int(rises.argmax())) * _HOP
    return int(np.clip(steepest, segment.start + _MIN_CLOSURE, segment.end - _MIN_CLOSURE // 2))


def _energy(waveform: np.ndarray, first: int, last: int) -> np.ndarray:
    """Decibels of short windows around first, first + _HOP, ..., last, of what changes in them.

    A release is heard in high frequencies, which the differences of neighbouring samples have.
    """
    begin, end = first - _WINDOW // 2 - 1, last + _WINDOW // 2
    outside = (max(-begin, 0), max(end - len(waveform), 0))
    part = np.pad(waveform[max(begin, 0) : end], outside, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(np.diff(part), _WINDOW)[::_HOP]
    return 10 * np.log10(np.square(windows * np.hanning(_WINDOW)).sum(axis=1) + 1e-9)
