"""Phones with times, from the phones of frames, and how they are written."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from apps.phoneme_tagging.phones import runs
from common.runs.errors import UserError

FRAME_S = 0.01  # common.audio.FRAME_S, without its imports


class Phone(NamedTuple):
    """A phone, its time in seconds, and the mean probability of its frames."""

    phone: str
    start_s: float
    end_s: float
    probability: float


def merge(
    frames: Sequence[str], probability: Sequence[float], *, first: int = 0, end_s: float
) -> list[Phone]:
    """The phones of frames, neighbours of the same merged.

    Args:
        frames: the phone of each.
        probability: of that phone.
        first: the number of the first of these frames in the recording.
        end_s: where the last phone ends.
    """
    found = []
    for (phone, start), (_, end) in itertools.pairwise([*runs(frames), ("", len(frames))]):
        until = (first + end) * FRAME_S if end < len(frames) else end_s
        mean = float(sum(probability[start:end]) / (end - start))
        found.append(Phone(phone, round((first + start) * FRAME_S, 3), round(until, 3), mean))
    return found


def as_line(one: Phone) -> str:
    """For people to read."""
    return f"{one.start_s:8.3f} {one.end_s:8.3f}  {one.phone:<5} {one.probability:6.1%}"


def recording_names(paths: Sequence[Path]) -> list[str]:
    """What CTM calls files: their names without ending and blanks.

    Raises:
        UserError: two have the same.
    """
    found: dict[str, Path] = {}
    for path in paths:
        name = "_".join(path.stem.split())
        if name in found:
            raise UserError(
                f"expected files of different names for --ctm, got {found[name]} and {path}, both "
                f"{name} there: rename one, or write a file for each"
            )
        found[name] = path
    return list(found)


def as_ctm(recording: str, phones: Sequence[Phone]) -> str:
    """Lines `recording channel start duration phone confidence` for the scoring tools of NIST.

    https://github.com/usnistgov/SCTK/blob/master/doc/infmts.htm
    """
    return "".join(
        f"{recording} 1 {one.start_s:.3f} {one.end_s - one.start_s:.3f} {one.phone} "
        f"{one.probability:.3f}\n"
        for one in phones
    )
