"""Interface texts of Home Assistant's core in many languages (Apache-2.0), from its package.

The package is not imported, so its dependencies are not needed: its files of translations are
read. A part of the interface stands in one part of the data; texts of validation and test whose
source or target stands in training are left out.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from apps.translation.corpora.formats import Pair, Parts
from common.inputs import datasets, tables
from common.runs import files
from common.runs.errors import UserError

PACKAGE = "homeassistant==2024.3.3"
_NO_TEXT = re.compile(r"[{}<>\[\]`*_|\\\n]|https?:|%s")  # code and marks among the words
_MAX_WORDS, _MIN_WORDS, _RATIO = 40, 2, 2.5
_HELD_BACK = 0.1


def check(source_language: str, target_languages: Sequence[str]) -> None:
    """Raises UserError where the package is missing or has no texts in a language."""
    known = {path.name.split(".")[-2] for path in _root().glob("sun/translations/*.json")}
    for language in (source_language, *target_languages):
        if language not in known:
            raise UserError(
                f"expected languages out of {', '.join(sorted(known))} for home_assistant, got "
                f"{language}: correct --data.target-languages or --data.source-language"
            )


def _root() -> Path:
    return files.package_folder("homeassistant", f"--no-deps {PACKAGE}") / "components"


def read(source_language: str, target_languages: Sequence[str]) -> Parts:
    """Pairs of texts with the same key."""
    parts: Parts = {"train": [], "validation": [], "test": []}
    seen = set()
    for component in sorted(path for path in _root().iterdir() if path.is_dir()):
        part = _part(component.name)
        for pair in _pairs(component, source_language, target_languages):
            if pair[1:] not in seen:
                seen.add(pair[1:])
                parts[part].append(pair)
    known = {text.casefold() for pair in parts["train"] for text in pair[1:3]}
    for part in ("validation", "test"):
        parts[part] = [
            pair for pair in parts[part] if not {text.casefold() for text in pair[1:3]} & known
        ]
    return parts


def _part(component: str) -> str:
    if datasets.is_held_back(component, share=_HELD_BACK):
        return "validation"
    return "test" if datasets.is_held_back(component, share=2 * _HELD_BACK) else "train"


def _pairs(component: Path, source_language: str, target_languages: Sequence[str]) -> Iterator:
    folder = component / "translations"
    for path in sorted(folder.glob(f"*{source_language}.json")):
        prefix = path.name.removesuffix(f"{source_language}.json")
        if prefix and not prefix.endswith("."):  # of another language, such as pt-en
            continue
        sources = dict(_flat(files.read_json(path)))
        for language in target_languages:
            other = folder / f"{prefix}{language}.json"
            targets = dict(_flat(files.read_json(other))) if other.exists() else {}
            for key, source in sources.items():
                if key in targets and _is_text(source, targets[key]):
                    where = f"{component.name}/{path.name}:{key}"
                    yield Pair(where, source, targets[key], language)


def _flat(value, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, str):
        yield key, tables.one_line(value)


def _is_text(source: str, target: str) -> bool:
    if source == target or _NO_TEXT.search(source) or _NO_TEXT.search(target):
        return False
    ratio = len(target) / max(len(source), 1)
    return _MIN_WORDS <= len(source.split()) <= _MAX_WORDS and 1 / _RATIO <= ratio <= _RATIO
