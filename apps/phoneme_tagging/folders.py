"""Folders of one's own recordings: a sound file with a file of labels of the same name beside it.

    [SPEAKER/]NAME.wav NAME.TextGrid      or NAME.phn, NAME.ctm: phones with their times
                                          or NAME.txt, NAME.lab: the words

Each sub-folder is a speaker. A CTM file of another name labels all recordings of its folder and
those below that have no file of their own.
"""

from pathlib import Path

from apps.phoneme_tagging import speakers
from apps.phoneme_tagging.formats import Utterance
from common.runs.errors import UserError

TIMED = (".TextGrid", ".phn", ".ctm")  # phones with their times; the first that is there is read
WORDS = (".txt", ".lab")
_SOUNDS = (".wav", ".sph")


def find(root: Path, suffixes: tuple[str, ...]) -> list[Utterance]:
    """The recordings below `root`; a sound or a label file may be absent, which reading it tells.

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
    found = []
    for stem in sorted(sounds | labels):
        relative = stem.relative_to(root)
        found.append(
            Utterance(
                key=relative.as_posix(),
                speaker=relative.parent.as_posix(),
                sound=sounds.get(stem, Path(f"{stem}{_SOUNDS[0]}")),
                labels=labels.get(stem, Path(f"{stem}{suffixes[0]}")),
            )
        )
    if len(found) < 3:
        raise UserError(
            f"expected at least three recordings NAME.wav with NAME{' or NAME'.join(suffixes)} "
            f"in {root}, found {len(found)}"
        )
    return found


def parts(utterances: list[Utterance], *, fold: int) -> dict[str, list[Utterance]]:
    """Training, validation and test: by speaker where there are three or more, else by file.

    Test is a tenth, the same in all folds; validation another tenth, each fold takes the next.
    """
    by_speaker = len({one.speaker for one in utterances}) >= 3
    units = {one: one.speaker if by_speaker else one.key for one in utterances}
    test = speakers.held_back(set(units.values()), fold=0, least=1)
    validation = speakers.held_back(set(units.values()) - test, fold=fold, least=1)
    found: dict[str, list[Utterance]] = {"train": [], "validation": [], "test": []}
    for one, unit in units.items():
        part = "test" if unit in test else "validation" if unit in validation else "train"
        found[part].append(one)
    return found


def _by_stem(root: Path, suffixes: tuple[str, ...]) -> dict[Path, Path]:
    """Files by their path without ending; of several, the one whose ending comes first."""
    wanted = [suffix.lower() for suffix in suffixes]
    found = [path for path in root.rglob("*") if path.suffix.lower() in wanted and path.is_file()]
    found.sort(key=lambda path: (-wanted.index(path.suffix.lower()), path))
    return {path.with_suffix(""): path for path in found}
