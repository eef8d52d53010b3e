"""Phones with times, from the phones of frames, and the files they are written to."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from apps.phoneme_tagging.corpora.phones import runs
from common.runs import files
from common.runs.errors import UserError

FRAME_S = 0.01  # common.inputs.audio.FRAME_S, without its imports


class Phone(NamedTuple):
    """A phone, its time in seconds, and the mean probability of its frames."""

    phone: str
    start_s: float
    end_s: float
    probability: float


class Transcript(NamedTuple):
    """What a model hears in one recording."""

    phones: list[Phone]  # without gaps, in order
    posteriors: np.ndarray  # float32 (frames, choices), of the network before decoding
    choices: list[str]  # the phones that the columns of `posteriors` stand for


def merge(
    frames: Sequence[str], probability: Sequence[float], *, first: int = 0, end_s: float
) -> list[Phone]:
    """The phones of frames, neighbours of the same merged.

    `first` is the number of the first frame in the recording; the last phone ends at `end_s`.
    """
    phones = []
    for (phone, start), (_, end) in itertools.pairwise([*runs(frames), ("", len(frames))]):
        until = (first + end) * FRAME_S if end < len(frames) else end_s
        mean = float(sum(probability[start:end]) / (end - start))
        phones.append(Phone(phone, round((first + start) * FRAME_S, 3), round(until, 3), mean))
    return phones


def recording_names(paths: Sequence[Path]) -> list[str]:
    """What CTM calls files: their names without ending and blanks.

    Raises:
        UserError: two have the same.
    """
    names = ["_".join(path.stem.split()) for path in paths]
    if len(set(names)) < len(names):
        raise UserError(
            f"expected files of different names for --ctm, got {', '.join(names)}: rename one, or "
            "write a file for each"
        )
    return names


def as_ctm(recording: str, phones: Sequence[Phone]) -> str:
    """Lines `recording channel start duration phone confidence` for the scoring tools of NIST.

    https://github.com/usnistgov/SCTK/blob/master/doc/infmts.htm
    """
    return "".join(
        f"{recording} 1 {start_s:.3f} {end_s - start_s:.3f} {phone} {probability:.3f}\n"
        for phone, start_s, end_s, probability in phones
    )


def write_textgrid(path: Path, phones: Sequence[Phone]) -> None:
    """Writes Praat's long form with a tier "phones"; the phones follow each other without gaps."""
    from praatio import textgrid

    entries = [(phone.start_s, phone.end_s, phone.phone) for phone in phones]
    grid = textgrid.Textgrid()
    tier = textgrid.IntervalTier("phones", entries, 0, phones[-1].end_s)  # pyright: ignore
    grid.addTier(tier)
    with files.replacing(path) as temporary:
        grid.save(str(temporary), format="long_textgrid", includeBlankSpaces=True)
