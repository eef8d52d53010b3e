"""Praat's TextGrids, long or short form, UTF-8 or UTF-16: labels with their times in seconds.

https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from praatio import textgrid
from praatio.utilities import errors

from apps.phoneme_tagging.formats import Segment
from common.inputs.audio import FRAME_SHIFT, SAMPLE_RATE
from common.runs import files

PHONE_TIERS = ("phones", "phone", "phonemes", "phoneme", "segments", "phonetic", "mau")
_ROUNDING_S = 1e-4


class Timed(Protocol):
    """A phone and its time in seconds."""

    @property
    def phone(self) -> str: ...
    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...


class Interval(NamedTuple):
    """A label and its time in seconds; "" where nothing is written."""

    label: str
    start_s: float
    end_s: float


def write(path: Path, phones: Sequence[Timed]) -> None:
    """Writes the long form with a tier "phones"; the phones follow each other without gaps."""
    entries = [(one.start_s, one.end_s, one.phone) for one in phones]
    grid = textgrid.Textgrid()
    grid.addTier(textgrid.IntervalTier("phones", entries, 0, phones[-1].end_s))
    with files.replacing(path) as temporary:
        grid.save(str(temporary), format="long_textgrid", includeBlankSpaces=True)


def read(path: Path, tier: str | None) -> list[Interval]:
    """Reads the intervals of one tier, in order.

    Args:
        path: a TextGrid.
        tier: its name; None takes the first interval tier with a name of `PHONE_TIERS`.

    Raises:
        ValueError: no TextGrid, cut short, no such tier, or intervals with gaps or overlaps.
    """
    try:
        grid = textgrid.openTextgrid(
            str(path), includeEmptyIntervals=True, duplicateNamesMode="rename"
        )
    except (errors.PraatioException, ValueError, LookupError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"expected a TextGrid with intervals in order, got: {reason}") from None
    tiers = [one for one in grid.tiers if isinstance(one, textgrid.IntervalTier)]
    wanted = PHONE_TIERS if tier is None else (tier.lower(),)
    found = next((one for one in tiers if one.name.lower() in wanted), None)
    if found is None:
        raise ValueError(
            f"expected an interval tier named {' or '.join(wanted)}, found "
            f"{', '.join(grid.tierNames) or 'none'}: name the tier of phones with --data.tier"
        )
    intervals = [Interval(one.label, one.start, one.end) for one in found.entries]
    for one, two in itertools.pairwise(intervals):
        if two.start_s - one.end_s > _ROUNDING_S:
            raise ValueError(
                f"gap between {one.label!r}, to {one.end_s} s, and {two.label!r}, from "
                f"{two.start_s} s: Praat gives each stretch an interval, if an empty one"
            )
    if not intervals or found.maxTimestamp - intervals[-1].end_s > _ROUNDING_S:
        raise ValueError(
            f"expected intervals up to {found.maxTimestamp} s in tier {found.name!r}, they end "
            f"at {intervals[-1].end_s if intervals else 0} s: the file is cut short"
        )
    return intervals


def in_samples(intervals: Sequence[Interval], num_samples: int) -> list[Segment]:
    """The same in samples; what ends less than 10 ms past the audio ends with it."""
    found = []
    for one in intervals:
        start, end = round(one.start_s * SAMPLE_RATE), round(one.end_s * SAMPLE_RATE)
        end = num_samples if num_samples < end < num_samples + FRAME_SHIFT else end
        found.append(Segment(one.label, start, end))
    return found
