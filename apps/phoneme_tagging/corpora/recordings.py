"""Recordings with labels beside them: TIMIT in its official layout, and a user's own.

    [TRAIN|TEST/DR1/]SPEAKER/SENTENCE.wav .phn      TIMIT, upper or lower case
    [SPEAKER/]NAME.wav NAME.TextGrid, .phn or .ctm  one's own: phones with their times,
                       NAME.txt or NAME.lab         or the words

Sounds are RIFF WAVE or NIST SPHERE. `.phn` has a line `first last phone` for each phone, in
samples, `last` excluded. TextGrids are Praat's, of long or short form, UTF-8 or UTF-16:
https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html
CTM is NIST's `recording channel start duration label [confidence]`, in seconds; a CTM file of
another name labels all recordings of its folder and those below that have no file of their own:
https://github.com/usnistgov/SCTK/blob/master/doc/infmts.htm
"""

import hashlib
import itertools
import re
import unicodedata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from praatio import textgrid
from praatio.utilities import errors, textgrid_io

from apps.phoneme_tagging.corpora.phones import Segment
from common.inputs.audio import FRAME_SHIFT, SAMPLE_RATE
from common.runs import files
from common.runs.errors import UserError

SITE = "the Linguistic Data Consortium, LDC93S1"
WORDS = (".txt", ".lab")
LABELS = {  # by --data.name; the first that is there is read
    "folder": (".textgrid", ".phn", ".ctm", *WORDS),
    "textgrid": (".textgrid",),
    "align": WORDS,
}
SOUNDS = (".wav", ".sph")
_NUMBER = re.compile(r'"(?:[^"]|"")*"|(?<![^\s=])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?!\S)')
PHONE_TIERS = ("phones", "phone", "phonemes", "phoneme", "segments", "phonetic", "mau")


class Utterance(NamedTuple):
    """One recording with its file of labels, not yet read."""

    key: str
    speaker: str
    sound: Path
    labels: Path


def find_timit(root: Path, *, fold: int) -> dict[str, list[Utterance]]:
    """The utterances of "train", "validation" and, where the official folder is there, "test".

    Validation are a tenth of the training speakers. Dialect sentences SA1 and SA2, which every
    speaker reads, are left out.

    Raises:
        UserError: there is none.
    """
    parts: dict[str, list[Utterance]] = {}
    sounds = _by_stem(root, SOUNDS)
    for stem, labels in sorted(_by_stem(root, (".phn",)).items()):
        name, folders = stem.name.lower(), [part.lower() for part in stem.relative_to(root).parts]
        if not name.startswith("sa"):
            part, speaker = "test" if "test" in folders[:-1] else "train", stem.parent.name.lower()
            sound = sounds.get(stem, Path(f"{stem}.wav"))
            utterance = Utterance(f"{part}-{speaker}-{name}", speaker, sound, labels)
            parts.setdefault(part, []).append(utterance)
    official = parts.pop("train", [])
    if not official:
        raise UserError(
            f"expected the folders of TIMIT with SPEAKER/SENTENCE.phn in {root}, found none: "
            f"get them from {SITE}"
        )
    speakers = _held_back({utterance.speaker for utterance in official}, fold=fold, least=2)
    train = [utterance for utterance in official if utterance.speaker not in speakers]
    validation = [utterance for utterance in official if utterance.speaker in speakers]
    return {"train": train, "validation": validation, **parts}


def find_own(root: Path, *, fold: int, suffixes: tuple[str, ...]) -> dict[str, list[Utterance]]:
    """The recordings below `root`, divided by speaker where there are three or more, else by file.

    Test is a tenth, the same in all folds; validation another tenth, each fold takes the next.
    Reading the recordings tells of absent sound or label files.

    Raises:
        UserError: there are fewer than three, too few for three parts.
    """
    sounds, labels = _by_stem(root, SOUNDS), _by_stem(root, suffixes)
    ctm = {stem for stem, path in labels.items() if path.suffix.lower() == ".ctm"} - sounds.keys()
    of_folder = {stem.parent: labels.pop(stem) for stem in ctm}
    for stem in sounds.keys() - labels.keys():
        if nearest := next((folder for folder in stem.parents if folder in of_folder), None):
            labels[stem] = of_folder[nearest]
    utterances = [
        Utterance(
            key=stem.relative_to(root).as_posix(),
            speaker=stem.relative_to(root).parent.as_posix(),
            sound=sounds.get(stem, Path(f"{stem}.wav")),
            labels=labels.get(stem, Path(f"{stem}.TextGrid")),
        )
        for stem in sorted(sounds | labels)
    ]
    if len(utterances) < 3:
        raise UserError(
            f"expected at least three recordings NAME.wav with NAME{' or NAME'.join(suffixes)} "
            f"in {root}, found {len(utterances)}"
        )
    by_speaker = len({utterance.speaker for utterance in utterances}) >= 3
    groups = [utterance.speaker if by_speaker else utterance.key for utterance in utterances]
    test = _held_back(set(groups), fold=0, least=1)
    validation = _held_back(set(groups) - test, fold=fold, least=1)
    parts: dict[str, list[Utterance]] = {"train": [], "validation": [], "test": []}
    for utterance, group in zip(utterances, groups, strict=True):
        part = "test" if group in test else "validation" if group in validation else "train"
        parts[part].append(utterance)
    return parts


def _held_back(speakers: set[str], *, fold: int, least: int) -> set[str]:
    """A tenth of the speakers, at least so many; each fold takes the next ones."""
    ordered = sorted(speakers, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    size = max(least, len(ordered) // 10)
    return set(np.roll(ordered, -fold * size)[:size].tolist())


def _by_stem(root: Path, suffixes: tuple[str, ...]) -> dict[Path, Path]:
    """Files by their path without ending, in composed characters (NFC).

    Of several, the one whose ending comes first. A pipe would be waited for; a dead link is named.
    """
    paths = [path for path in root.rglob("*") if path.suffix.lower() in suffixes]
    paths = [path for path in paths if path.is_file() or not path.exists()]
    paths.sort(key=lambda path: (-suffixes.index(path.suffix.lower()), path))
    stems = (str(path.relative_to(root).with_suffix("")) for path in paths)
    composed = (root / unicodedata.normalize("NFC", stem) for stem in stems)
    return dict(zip(composed, paths, strict=True))


def read_phn(path: Path) -> list[Segment]:
    """Reads a `.phn` file; `phones.problem` judges what it holds.

    Raises:
        ValueError: a line is not `first last phone`.
    """
    segments = []
    for number, line in enumerate(files.read_lines(path), start=1):
        match line.split():
            case []:
                continue
            case [first, last, phone] if first.isdigit() and last.isdigit():
                segments.append(Segment(phone.lower(), int(first), int(last)))
            case _:
                raise ValueError(f"line {number}: expected `first last phone`, got {line!r}")
    return segments


def read_textgrid(path: Path, tier: str | None, num_samples: int) -> list[Segment]:
    """Reads the labels of one tier, in order; what is empty has the label "".

    None takes the first tier of `PHONE_TIERS`. What ends less than 10 ms past the recording ends
    with it.

    Raises:
        UserError: the file cannot be read, or is no text.
        ValueError: no TextGrid, cut short, no such tier, or intervals that overlap.
    """
    names = PHONE_TIERS if tier is None else (tier.lower(),)
    text = _NUMBER.sub(_as_decimal, files.read_text(path))
    try:
        grid = textgrid_io.parseTextgridStr(text, includeEmptyIntervals=True)["tiers"]
        tiers = [
            textgrid.IntervalTier(layer["name"], layer["entries"], layer["xmin"], layer["xmax"])
            for layer in grid
            if layer["class"] == "IntervalTier" and layer["name"].lower() in names
        ]
    except (errors.PraatioException, ValueError, LookupError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"expected a TextGrid with intervals in order, got: {reason}") from None
    if not tiers:
        others = ", ".join(layer["name"] for layer in grid) or "none"
        raise ValueError(
            f"expected an interval tier named {' or '.join(names)}, found {others}: name the tier "
            "of phones with --data.tier"
        )
    phones = tiers[0]
    entries: Any = phones.entries  # of an interval tier
    last_s = entries[-1].end if entries else 0.0
    if phones.maxTimestamp - last_s > 1e-4:  # rounding
        raise ValueError(
            f"expected intervals up to {phones.maxTimestamp} s in tier {phones.name!r}, they end "
            f"at {last_s} s: the file is cut short"
        )
    return [_segment(entry.label, entry.start, entry.end, num_samples) for entry in entries]


def _as_decimal(token: re.Match) -> str:
    """A number as praatio reads it, which takes no 5e-05 of Praat; strings stay as they are."""
    word = token[0]
    return word if word[0] == '"' else np.format_float_positional(float(word), trim="-")


def read_ctm(path: Path, recording: str, num_samples: int) -> list[Segment]:
    """Reads the labels of one recording, in order; overlaps below 10 ms are rounding and cut.

    Comments begin with `;;`; blanks in the name of the recording are written `_`. What ends less
    than 10 ms past the recording ends with it.

    Raises:
        ValueError: a line is damaged, or none is of this recording.
    """
    name, segments = unicodedata.normalize("NFC", "_".join(recording.split())), []
    for number, line in enumerate(files.read_lines(path), start=1):
        fields = unicodedata.normalize("NFC", line).split()
        if fields[:1] != [name]:
            continue
        try:
            start_s, duration_s, label = float(fields[2]), float(fields[3]), fields[4]
        except (ValueError, IndexError):
            raise ValueError(
                f"line {number}: expected `recording channel start duration phone`, got {line!r}"
            ) from None
        segments.append(_segment(label, start_s, start_s + duration_s, num_samples))
    if not segments:
        raise ValueError(f"expected lines of the recording {name}, found none")
    segments.sort(key=lambda segment: segment.start)
    for place, (before, after) in enumerate(itertools.pairwise(segments)):
        if 0 < before.end - after.start < FRAME_SHIFT:
            segments[place] = before._replace(end=after.start)
    return segments


def _segment(label: str, start_s: float, end_s: float, num_samples: int) -> Segment:
    if not np.isfinite([start_s, end_s]).all():
        raise ValueError(f"expected times in seconds, got {start_s} to {end_s} of {label!r}")
    end = round(end_s * SAMPLE_RATE)
    end = num_samples if num_samples < end < num_samples + FRAME_SHIFT else end
    return Segment(label, round(start_s * SAMPLE_RATE), end)
