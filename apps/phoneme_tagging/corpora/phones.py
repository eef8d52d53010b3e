"""The phones of TIMIT, how they are folded to 48 and 39 classes, other names, and their samples.

Lee & Hon (1989), https://doi.org/10.1109/29.46546, table I: 48 phones to model, of which some are
not told apart in scoring (39 are left). The glottal stop q is left out of both.

In a user's own files TIMIT's names and ARPAbet (upper or lower case, with or without stress) need
no table; other labels come from a text file with a line `label phone` each, `label -` for what is
no phone, "" for no label.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from common.runs import files
from common.runs.errors import UserError

PHONES_61 = tuple(
    "iy ih eh ey ae aa aw ay ah ao oy ow uh uw ux er ax ix axr ax-h "
    "l r w y hh hv el m n ng em en eng nx "
    "jh ch s sh z zh f th v dh "
    "b d g p t k dx q bcl dcl gcl pcl tcl kcl pau epi h#".split()
)

_TO_48 = {
    **{"ux": "uw", "axr": "er", "ax-h": "ax", "hv": "hh", "em": "m", "eng": "ng", "nx": "n"},
    **dict.fromkeys(("bcl", "dcl", "gcl"), "vcl"),
    **dict.fromkeys(("pcl", "tcl", "kcl"), "cl"),
    **dict.fromkeys(("pau", "h#"), "sil"),
}
_FROM_48_TO_39 = {
    **{"ix": "ih", "ax": "ah", "ao": "aa", "zh": "sh", "el": "l", "en": "n"},
    **dict.fromkeys(("cl", "vcl", "epi"), "sil"),
}
CLASSES = {
    "vowel": "iy ih eh ae aa ah uw uh er ey ay oy aw ow".split(),
    "semivowel": "l r w y hh".split(),
    "nasal": "m n ng".split(),
    "fricative": "s z sh f v th dh".split(),
    "affricate": "ch jh".split(),
    "stop": "b d g p t k dx".split(),
    "silence": ["sil"],
}  # of the 39
DELETED = "q"  # "" stands for it after folding
SILENCE = frozenset({"sil", "h#", "pau", "epi"})
NO_PHONE = "-"  # its frames are neither trained on nor scored
_OTHER_LABELS = {
    "ah0": "ax",
    "er0": "axr",
    **dict.fromkeys(["", "sil", "sp", "<sil>", "pause"], "pau"),
}


class Segment(NamedTuple):
    """A phone and its samples, `end` excluded."""

    phone: str
    start: int
    end: int


def fold(phone: str, size: int) -> str:
    """The class of a phone among 61, 48 or 39; "" for the glottal stop among 48 and 39.

    Takes phones of any of the three sets, so that what a model of 48 classes says can be folded.
    """
    if size == 61:
        return phone
    if phone == DELETED:
        return ""
    phone = _TO_48.get(phone, phone)
    return _FROM_48_TO_39.get(phone, phone) if size == 39 else phone


def runs(frames: Sequence[str]) -> list[tuple[str, int]]:
    """Phones of frames, neighbours of the same merged: (phone, first frame)."""
    return [
        (phone, place)
        for place, phone in enumerate(frames)
        if place == 0 or frames[place - 1] != phone
    ]


def read_map(path: Path) -> dict[str, str]:
    """The table of labels in a file (see the module).

    Raises:
        UserError: a line is not `label phone`.
    """
    table = {}
    for number, line in enumerate(files.read_lines(path), start=1):
        match line.split():
            case []:
                continue
            case [label, phone] if phone in (*PHONES_61, NO_PHONE):
                table["" if label == '""' else unicodedata.normalize("NFC", label)] = phone
            case _:
                raise UserError(
                    f"{path}, line {number}: expected `label phone` with one of the 61 phones of "
                    f"corpora/phones.py or {NO_PHONE}, got {line!r}"
                )
    return table


def named(label: str, table: Mapping[str, str]) -> str | None:
    """The phone that a label stands for; None where the table says that it is no phone.

    Raises:
        ValueError: the label is unknown; names the table to extend.
    """
    label = unicodedata.normalize("NFC", label)
    if label in table:
        return None if table[label] == NO_PHONE else table[label]
    lower = label.lower()
    for name in (_OTHER_LABELS.get(lower, lower), lower.rstrip("012")):
        if name in PHONES_61:
            return name
    quoted = label or '""'
    raise ValueError(
        f"unknown phone {label!r}: add a line `{quoted} PHONE` with one of the 61 of "
        f"corpora/phones.py, or `{quoted} {NO_PHONE}`, to the file of --data.phone-map"
    )


def renamed(segments: Iterable[Segment], table: Mapping[str, str]) -> list[Segment]:
    """The segments with the phones that their labels stand for, tidy.

    Raises:
        ValueError: a label is unknown; names the table to extend.
    """
    names = [(named(segment.phone, table), segment) for segment in segments]
    return tidy(segment._replace(phone=phone) for phone, segment in names if phone is not None)


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


def problem(segments: list[Segment], num_samples: int) -> str | None:
    """What is wrong with the phones of a recording, or None; gaps are no error."""
    last_end = 0
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
