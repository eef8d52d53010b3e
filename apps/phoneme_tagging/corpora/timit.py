"""The official layout of TIMIT, read in plain Python.

    [TRAIN|TEST/DR1/]SPEAKER/SENTENCE.wav .phn        upper or lower case

`.wav` is NIST SPHERE as published, RIFF in some copies; `.phn` has a line `first last phone` for
each phone, in samples, `last` excluded.
"""

from pathlib import Path
from typing import NamedTuple

from apps.phoneme_tagging.corpora.segments import Segment
from common.runs.errors import UserError

SITE = "the Linguistic Data Consortium, LDC93S1"


class Utterance(NamedTuple):
    """One recording with its file of labels, not yet read."""

    key: str
    speaker: str
    sound: Path
    labels: Path


def find(root: Path) -> dict[str, list[Utterance]]:
    """The utterances of "train" and, where the official folder is there, "test".

    Dialect sentences SA1 and SA2, which every speaker reads, are left out.

    Raises:
        UserError: there is none.
    """
    parts: dict[str, list[Utterance]] = {}
    paths = [path for path in root.rglob("*") if path.suffix.lower() == ".phn"]
    for labels in sorted(paths):
        relative = labels.relative_to(root)
        if labels.stem.lower().startswith("sa"):
            continue
        part = "test" if "test" in [name.lower() for name in relative.parts[:-1]] else "train"
        speaker = labels.parent.name.lower()
        sounds = [labels.with_suffix(suffix) for suffix in (".wav", ".WAV", ".sph", ".SPH")]
        sound = next((path for path in sounds if path.exists()), sounds[0])
        key = f"{part}-{speaker}-{labels.stem.lower()}"
        parts.setdefault(part, []).append(Utterance(key, speaker, sound, labels))
    if "train" not in parts:
        raise UserError(
            f"expected the folders of TIMIT with SPEAKER/SENTENCE.phn in {root}, found none: "
            f"get them from {SITE}"
        )
    return parts


def read_phn(path: Path) -> list[Segment]:
    """Reads a `.phn` file; `segments.problem` judges what it holds.

    Raises:
        ValueError: a line is not `first last phone`.
    """
    segments = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 3 or not (fields[0].isdigit() and fields[1].isdigit()):
            raise ValueError(f"line {number}: expected `first last phone`, got {line!r}")
        segments.append(Segment(fields[2].lower(), int(fields[0]), int(fields[1])))
    return segments
