"""The file formats of translation, read in plain Python: a folder -> its pairs of texts by part."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from common.inputs import datasets, tables
from common.runs import files
from common.runs.errors import UserError

MULTI30K_SITE = "the repository multi30k/dataset, task 1"
_MULTI30K = {"train": "train", "validation": "val", "test": "test_2016_flickr"}
_PARALLEL = {"train": "train", "validation": "validation", "test": "test"}


class Pair(NamedTuple):
    """A text and its translation.

    Attributes:
        where: file and line, or what else names it.
        target_language: of the translation.
        problem: why it cannot be used, or None.
    """

    where: str
    source: str
    target: str
    target_language: str
    problem: str | None = None


Parts = dict[str, list[Pair]]  # by "train", "validation" and, if it is there, "test"


def read_multi30k(root: Path, source_language: str, target_languages: Sequence[str]) -> Parts:
    """Captions of images and their translations (Elliott et al. 2016), train.en, train.de, ...

    Files may be compressed: train.en.gz.
    """
    return _read_aligned(root, _MULTI30K, source_language, target_languages, site=MULTI30K_SITE)


def read_folder(root: Path, source_language: str, target_languages: Sequence[str]) -> Parts:
    """One's own texts: pairs.csv with a column for each language, or aligned text files.

    Aligned files are train.en and train.de, line by line, likewise validation and test. Without
    validation a tenth of the training pairs is held back for it, by a hash of the source, and
    another for test where there is none.
    """
    if (root / "pairs.csv").exists():
        return _read_table(root / "pairs.csv", source_language, target_languages)
    parts = _read_aligned(
        root, _PARALLEL, source_language, target_languages, site="your own data: aligned text files"
    )
    if "validation" not in parts:
        divided: Parts = {"train": [], "validation": [], "test": []}
        for pair in parts["train"]:
            divided[_part_of(pair.source)].append(pair)
        if "test" in parts:  # of one's own: nothing else joins it
            divided["train"] += divided["test"]
        parts = divided | {"test": parts.get("test", divided["test"])}
    return parts


def _part_of(source: str) -> str:
    key = tables.one_line(source)
    if datasets.is_held_back(key, share=0.1):
        return "validation"
    return "test" if datasets.is_held_back(key, share=0.2) else "train"


def read_tatoeba(root: Path, source_language: str, target_languages: Sequence[str]) -> Parts:
    """A list of manythings.org/anki: English, a tab, the translation, a tab, whose they are.

    The file is the only .txt in the folder. A source stands in one part with all its translations.
    """
    if source_language != "en" or len(target_languages) != 1:
        raise UserError(
            "expected --data.source-language en and one target language for tatoeba, got "
            f"{source_language} and {', '.join(target_languages)}"
        )
    (path,) = tatoeba_file(root)
    parts: Parts = {"train": [], "validation": [], "test": []}
    for number, line in enumerate(files.read_lines(path), start=1):
        source, *rest = line.split("\t")
        target = rest[0] if rest else ""
        problem = None if rest else f"expected a tab between two texts, got {line[:60]!r}"
        pair = Pair(f"{path}:{number}", source, target, target_languages[0], problem)
        parts[_part_of(source)].append(pair)
    return parts


def tatoeba_file(root: Path) -> list[Path]:
    """The list of pairs in a folder."""
    return [path for path in sorted(root.glob("*.txt")) if not path.name.startswith("_")][:1]


def _read_table(path: Path, source_language: str, target_languages: Sequence[str]) -> Parts:
    columns = (source_language, *target_languages)
    parts = {}
    for part, groups in tables.read_parts(path, columns, key=source_language).items():
        rows = (row for group in groups for row in group.rows)
        parts[part] = [
            Pair(row.where, row.cells[source_language], row.cells[language], language, row.problem)
            for row in rows
            for language in target_languages
            if row.cells[language] or row.problem  # not every text need be in every language
        ]
    return parts


def _read_aligned(
    root: Path,
    names: dict[str, str],
    source_language: str,
    target_languages: Sequence[str],
    *,
    site: str,
) -> Parts:
    parts: Parts = {}
    for part, name in names.items():
        for language in target_languages:
            paths = [_find(root, f"{name}.{code}") for code in (source_language, language)]
            if part == "train" or all(path.exists() for path in paths):
                for path in paths:
                    datasets.official_file(root, path.name, get_it_from=site)
                parts.setdefault(part, []).extend(_aligned(paths[0], paths[1], language))
    return parts


def _find(root: Path, name: str) -> Path:
    packed = root / f"{name}.gz"
    return packed if packed.exists() else root / name


def _aligned(source_path: Path, target_path: Path, language: str) -> Iterator[Pair]:
    sources, targets = map(files.read_lines, (source_path, target_path))
    if len(sources) != len(targets):
        first = min(len(sources), len(targets)) + 1
        raise UserError(
            f"expected as many lines in {source_path} as in {target_path}, got {len(sources)} and "
            f"{len(targets)}: the first without its translation is line {first}"
        )
    for number, (source, target) in enumerate(zip(sources, targets, strict=True), start=1):
        yield Pair(f"{source_path}:{number}", source, target, language)
