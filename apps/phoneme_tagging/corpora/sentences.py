"""Sentences to speak, from the sources of installed packages, divided by module.

Comments and documentation are searched for plain sentences: words of letters alone.
"""

import hashlib
import re
from importlib import metadata
from pathlib import Path

from common.runs import files

PACKAGES = {"numpy": "numpy", "sklearn": "scikit-learn", "keras": "keras"}  # names for pip
_SHARES = {"validation": 0.15, "test": 0.3}  # of the modules, up to here; the rest is for training
_SENTENCE = re.compile(r"(?<=\s)[A-Z][a-z]+(?:\s+[a-z]{1,14}){4,9}\.(?=\s)")
_HELD_BACK_SHARE = 0.1  # of the sentences, for validation, and as many for test
_MIN_HELD_BACK = 9  # as many as espeak has voices for test


def by_part(num_training: int) -> dict[str, list[str]]:
    """So many distinct sentences for training, a tenth as many for validation and for test.

    No sentence and no module is in two parts. Fewer where the packages have no more.

    Raises:
        UserError: a package is not installed.
    """
    num_held_back = max(int(num_training * _HELD_BACK_SHARE), _MIN_HELD_BACK)
    counts = {"train": num_training, "validation": num_held_back, "test": num_held_back}
    sentences: dict[str, list[str]] = {part: [] for part in counts}
    seen: set[str] = set()
    for module, path in _modules():
        part = next((part for part, share in _SHARES.items() if _place(module) < share), "train")
        if len(sentences[part]) >= counts[part]:
            continue
        for sentence in _SENTENCE.findall(path.read_text(encoding="utf-8", errors="replace")):
            spoken = " ".join(sentence.split())
            if spoken not in seen and len(sentences[part]) < counts[part]:
                seen.add(spoken)
                sentences[part].append(spoken)
        if all(len(sentences[part]) == count for part, count in counts.items()):
            break
    return sentences


def _modules() -> list[tuple[str, Path]]:
    """Names and paths of source files, in an order that mixes the packages."""
    folders = [files.package_folder(name, pip) for name, pip in PACKAGES.items()]
    modules = [
        (path.relative_to(folder.parent).as_posix(), path)
        for folder in folders
        for path in folder.rglob("*.py")
        if "tests" not in path.relative_to(folder).parts
    ]
    return sorted(modules, key=lambda module: _place("order of " + module[0]))


def _place(module: str) -> float:
    """A number in [0, 1) for a module, the same on every machine."""
    return int(hashlib.sha256(module.encode()).hexdigest()[:8], 16) / 2**32


def versions() -> dict[str, str]:
    """The installed versions of the packages, which decide the sentences."""
    return {pip: metadata.version(pip) for pip in PACKAGES.values()}
