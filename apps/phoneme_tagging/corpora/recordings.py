"""Recordings of a user: sound files with a file of labels or words of the same name beside them.

    [SPEAKER/]NAME.wav NAME.TextGrid      or NAME.phn, NAME.ctm: phones with their times
                                          or NAME.txt, NAME.lab: the words

Each sub-folder is a speaker. A CTM file of another name labels all recordings of its folder and
those below that have no file of their own.

TextGrids are Praat's, of long or short form, UTF-8 or UTF-16:
https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html
CTM is NIST's `recording channel start duration label [confidence]`, in seconds:
https://github.com/usnistgov/SCTK/blob/master/doc/infmts.htm
"""

import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from praatio import textgrid
from praatio.utilities import errors

from apps.phoneme_tagging.corpora.segments import Segment
from apps.phoneme_tagging.corpora.timit import Utterance
from common.inputs.audio import FRAME_S, FRAME_SHIFT, SAMPLE_RATE
from common.runs.errors import UserError

TIMED = (".TextGrid", ".phn", ".ctm")  # phones with their times; the first that is there is read
WORDS = (".txt", ".lab")
PHONE_TIERS = ("phones", "phone", "phonemes", "phoneme", "segments", "phonetic", "mau")
_SOUNDS = (".wav", ".sph")
_ROUNDING_S = 1e-4


class Interval(NamedTuple):
    """A label and its time in seconds; "" where nothing is written."""

    label: str
    start_s: float
    end_s: float


def find(root: Path, suffixes: tuple[str, ...]) -> list[Utterance]:
    """The recordings below `root`; reading them tells of absent sound or label files.

    Raises:
        UserError: there are fewer than three, too few for training, validation and test.
    """
    sounds, labels = _by_stem(root, _SOUNDS), _by_stem(root, suffixes)
    if ".ctm" in suffixes:
        shared = {
            path.parent: path
            for stem, path in _by_stem(root, (".ctm",)).items()
            if stem not in sounds
        }
        labels = {stem: path for stem, path in labels.items() if path not in shared.values()}
        for stem in sounds.keys() - labels.keys():
            of_all = next((shared[folder] for folder in stem.parents if folder in shared), None)
            labels |= {} if of_all is None else {stem: of_all}
    utterances = []
    for stem in sorted(sounds | labels):
        relative = stem.relative_to(root)
        utterances.append(
            Utterance(
                key=relative.as_posix(),
                speaker=relative.parent.as_posix(),
                sound=sounds.get(stem, Path(f"{stem}{_SOUNDS[0]}")),
                labels=labels.get(stem, Path(f"{stem}{suffixes[0]}")),
            )
        )
    if len(utterances) < 3:
        raise UserError(
            f"expected at least three recordings NAME.wav with NAME{' or NAME'.join(suffixes)} "
            f"in {root}, found {len(utterances)}"
        )
    return utterances


def parts(utterances: list[Utterance], *, fold: int) -> dict[str, list[Utterance]]:
    """Training, validation and test: by speaker where there are three or more, else by file.

    Test is a tenth, the same in all folds; validation another tenth, each fold takes the next.
    """
    by_speaker = len({utterance.speaker for utterance in utterances}) >= 3
    groups = {
        utterance: utterance.speaker if by_speaker else utterance.key for utterance in utterances
    }
    test = held_back(set(groups.values()), fold=0, least=1)
    validation = held_back(set(groups.values()) - test, fold=fold, least=1)
    divided: dict[str, list[Utterance]] = {"train": [], "validation": [], "test": []}
    for utterance, group in groups.items():
        part = "test" if group in test else "validation" if group in validation else "train"
        divided[part].append(utterance)
    return divided


def held_back(speakers: set[str], *, fold: int, least: int) -> set[str]:
    """A tenth of the speakers, at least so many; each fold takes the next ones."""
    ordered = sorted(speakers, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    size = max(least, len(ordered) // 10)
    turned = np.roll(ordered, -fold * size)
    return set(turned[:size].tolist())


def _by_stem(root: Path, suffixes: tuple[str, ...]) -> dict[Path, Path]:
    """Files by their path without ending; of several, the one whose ending comes first."""
    lower = [suffix.lower() for suffix in suffixes]
    paths = [path for path in root.rglob("*") if path.suffix.lower() in lower and path.is_file()]
    paths.sort(key=lambda path: (-lower.index(path.suffix.lower()), path))
    return {path.with_suffix(""): path for path in paths}


def read_textgrid(path: Path, tier: str | None) -> list[Interval]:
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
    tiers = [layer for layer in grid.tiers if isinstance(layer, textgrid.IntervalTier)]
    names = PHONE_TIERS if tier is None else (tier.lower(),)
    phones = next((layer for layer in tiers if layer.name.lower() in names), None)
    if phones is None:
        raise ValueError(
            f"expected an interval tier named {' or '.join(names)}, found "
            f"{', '.join(grid.tierNames) or 'none'}: name the tier of phones with --data.tier"
        )
    entries: Any = phones.entries  # of an interval tier
    intervals = [Interval(entry.label, entry.start, entry.end) for entry in entries]
    for before, after in itertools.pairwise(intervals):
        if after.start_s - before.end_s > _ROUNDING_S:
            raise ValueError(
                f"gap between {before.label!r}, to {before.end_s} s, and {after.label!r}, from "
                f"{after.start_s} s: Praat gives each stretch an interval, if an empty one"
            )
    if not intervals or phones.maxTimestamp - intervals[-1].end_s > _ROUNDING_S:
        raise ValueError(
            f"expected intervals up to {phones.maxTimestamp} s in tier {phones.name!r}, they end "
            f"at {intervals[-1].end_s if intervals else 0} s: the file is cut short"
        )
    return intervals


def read_ctm(path: Path, recording: str) -> list[Interval]:
    """The labels of one recording, in order; overlaps below 10 ms are rounding and cut.

    Args:
        path: a CTM file; comments begin with `;;`.
        recording: what its lines are called; blanks in it are written `_`.

    Raises:
        ValueError: a line is damaged, or none is of this recording.
    """
    name = "_".join(recording.split())
    intervals = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0].startswith(";;") or fields[0] != name:
            continue
        try:
            start, duration = float(fields[2]), float(fields[3])
            intervals.append(Interval(fields[4], start, start + duration))
        except (ValueError, IndexError):
            raise ValueError(
                f"line {number}: expected `recording channel start duration phone`, got {line!r}"
            ) from None
    if not intervals:
        raise ValueError(f"expected lines of the recording {name}, found none")
    intervals.sort(key=lambda interval: interval.start_s)
    for place, (before, after) in enumerate(itertools.pairwise(intervals)):
        if 0 < before.end_s - after.start_s < FRAME_S:
            intervals[place] = before._replace(end_s=after.start_s)
    return intervals


def in_samples(intervals: Sequence[Interval], num_samples: int) -> list[Segment]:
    """The same in samples; what ends less than 10 ms past the audio ends with it."""
    segments = []
    for label, start_s, end_s in intervals:
        start, end = round(start_s * SAMPLE_RATE), round(end_s * SAMPLE_RATE)
        end = num_samples if num_samples < end < num_samples + FRAME_SHIFT else end
        segments.append(Segment(label, start, end))
    return segments
