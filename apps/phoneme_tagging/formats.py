"""The official layout of TIMIT, read in plain Python.

    [TRAIN|TEST/DR1/]SPEAKER/SENTENCE.wav .phn        upper or lower case

`.wav` is NIST SPHERE as published, RIFF in some copies; `.phn` has a line `first last phone` for
each phone, in samples, `last` excluded.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from common.runs.errors import UserError

TIMIT_SITE = "the Linguistic Data Consortium, LDC93S1"


class Segment(NamedTuple):
    """A phone and its samples, `end` excluded."""

    phone: str
    start: int
    end: int


class Utterance(NamedTuple):
    """One recording of a published set, not yet read."""

    key: str
    speaker: str
    sound: Path
    labels: Path


def find_timit(root: Path) -> dict[str, list[Utterance]]:
    """The utterances of "train" and, where the official folder is there, "test".

    Dialect sentences SA1 and SA2, which every speaker reads, are left out.

    Raises:
        UserError: there is none.
    """
    found: dict[str, list[Utterance]] = {}
    paths = [path for path in root.rglob("*") if path.suffix.lower() == ".phn"]
    for labels in sorted(paths):
        relative = labels.relative_to(root)
        if labels.stem.lower().startswith("sa"):
            continue
        part = "test" if "test" in [name.lower() for name in relative.parts[:-1]] else "train"
        speaker = labels.parent.name.lower()
        sounds = [labels.with_suffix(suffix) for suffix in (".wav", ".WAV", ".sph", ".SPH")]
        sound = next((path for path in sounds if path.exists()), sounds[0])
        found.setdefault(part, []).append(
            Utterance(f"{part}-{speaker}-{labels.stem.lower()}", speaker, sound, labels)
        )
    if "train" not in found:
        raise UserError(
            f"expected the folders of TIMIT with SPEAKER/SENTENCE.phn in {root}, found none: "
            f"get them from {TIMIT_SITE}"
        )
    return found


def read_phn(path: Path) -> list[Segment]:
    """Reads a `.phn` file; what it holds is judged by `problem`.

    Raises:
        ValueError: a line is not `first last phone`.
    """
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 3 or not (fields[0].isdigit() and fields[1].isdigit()):
            raise ValueError(f"line {number}: expected `first last phone`, got {line!r}")
        found.append(Segment(fields[2].lower(), int(fields[0]), int(fields[1])))
    return found


def problem(segments: Iterable[Segment], num_samples: int) -> str | None:
    """What is wrong with the phones of a recording, or None; gaps are no error."""
    before = 0
    segments = list(segments)
    if not segments:
        return "no phones"
    for one in segments:
        if one.end <= one.start:
            return f"{one.phone} from {one.start} to {one.end} has no length"
        if one.start < before:
            return f"{one.phone} at {one.start} begins before the end of the last phone, {before}"
        before = one.end
    if before > num_samples:
        return f"phones end at {before}, past the end of the audio, {num_samples}"
    return None


def tidy(segments: Iterable[Segment]) -> list[Segment]:
    """Joins equal neighbours, as TIMIT has the s of "this sentence"; silent ends become h#."""
    found: list[Segment] = []
    for one in segments:
        if found and found[-1].phone == one.phone and found[-1].end == one.start:
            one = one._replace(start=found.pop().start)
        found.append(one)
    for end in {0, len(found) - 1} if found else ():
        if found[end].phone == "pau":
            found[end] = found[end]._replace(phone="h#")
    return found
