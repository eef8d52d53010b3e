"""The data sets of answer selection, as tensorflow-datasets builders.

corpora/records.py says what a record holds. Validation and test parts are the official ones; where
there is no official validation part, questions are held back by a hash of their text.
"""

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import tensorflow as tf
import tensorflow_datasets as tfds

from apps.answer_selection.corpora import docstrings, formats
from apps.answer_selection.corpora.records import QuestionsWithCandidates, Source, with_validation
from common.inputs import datasets
from common.runs import files

TOKS_PARTS = ("train-all", "train", "raw-dev", "clean-dev", "raw-test", "clean-test")
JSONL_PARTS = ("train-all", "train", "dev", "test")


class Docstrings(QuestionsWithCandidates):
    """What a parameter means, from the docstrings of installed packages (corpora/docstrings.py).

    Validation and test are whole modules, a tenth of them each.
    """

    def _split_generators(self, dl_manager):
        folders = [(name, _package_folder(name)) for name in self.builder_config.packages]
        by_part = docstrings.questions_by_part(folders)
        return {part: self._generate_examples(rows) for part, rows in by_part.items()}


class TrecQa(QuestionsWithCandidates):
    """TREC-QA sentences (Wang, Smith, Mitamura 2007; Yao et al. 2013): all parts that are there."""

    def _split_generators(self, dl_manager):
        root = self.builder_config.root
        return {
            part.replace("-", "_"): self._generate_examples(formats.read_toks(root / part))
            for part in TOKS_PARTS
            if (root / part).is_dir()
        }


class TrecQaJsonl(QuestionsWithCandidates):
    """TREC-QA in lexdecomp's layout: case kept, sentences whole, unlike in the other."""

    def _split_generators(self, dl_manager):
        return {
            part.replace("-", "_"): self._generate_examples(formats.read_jsonl(path))
            for part, path in _jsonl_files(self.builder_config.root).items()
        }


class WikiQa(QuestionsWithCandidates):
    """WikiQA (Yang, Yih, Meek 2015): all questions, also those without a right sentence."""

    def _split_generators(self, dl_manager):
        parts = {"train": "train", "validation": "dev", "test": "test"}
        root = self.builder_config.root
        files = {part: root / f"WikiQA-{name}.tsv" for part, name in parts.items()}
        return {
            part: self._generate_examples(formats.read_wikiqa(path))
            for part, path in files.items()
            if path.exists()
        }


class Folder(QuestionsWithCandidates):
    """Tables of one's own: train.csv, and validation.csv and test.csv where there are any."""

    def _split_generators(self, dl_manager):
        root = self.builder_config.root
        tables = {
            part: formats.read_csv(root / f"{part}.csv")
            for part in ("train", "validation", "test")
            if (root / f"{part}.csv").exists()
        }
        if "validation" in tables:
            return {part: self._generate_examples(rows) for part, rows in tables.items()}
        splits = with_validation(self, tables.pop("train"))
        return splits | {part: self._generate_examples(rows) for part, rows in tables.items()}


def make_builder(
    name: str, *, root: Path | None, cache_dir: Path | None, packages: Sequence[str] = ()
) -> tuple[tfds.core.DatasetBuilder, dict[str, str]]:
    """Prepares a data set if need be; returns its builder and the TFDS split of each of our splits.

    Args:
        name: docstrings, trecqa (trained on its train-all part), trecqa_train (on the part labelled
            by hand), wikiqa, folder.
        root: Folder with the official files. For trecqa, the folder that holds `train-all/`, or
            one that holds `train-all.jsonl`.
        cache_dir: Where prepared data is kept.
        packages: For docstrings, the import names of those that are mined.

    Raises:
        UserError: files are missing or damaged, a package is missing, too many rows are broken.
    """
    builder = unprepared(name, root=root, cache_dir=cache_dir, packages=packages)
    datasets.prepare(builder, builder.broken)
    return builder, _splits(name, set(builder.info.splits))


def unprepared(
    name: str, *, root: Path | None, cache_dir: Path | None, packages: Sequence[str] = ()
) -> QuestionsWithCandidates:
    """The builder of a data set, before anything but the list of its files is read.

    Raises:
        UserError: a file or a package is missing.
    """
    if name == "docstrings":
        builder_type, state = Docstrings, _mined_state(packages)
    else:
        builder_type, files = _source(name, root)
        state = datasets.fingerprint(files)
    return builder_type(
        data_dir=None if cache_dir is None else str(cache_dir),
        config=Source(name=state, root=root, packages=packages),
    )


def read(builder: tfds.core.DatasetBuilder, split: str) -> tf.data.Dataset:
    """Streams the records of a split (see the module) from disk, in a fixed order."""
    return builder.as_dataset(split=split, shuffle_files=False)


def example_arguments() -> list[str]:
    """Arguments for `predict` with a text that comes with the default data's packages."""
    passages = _package_folder("sklearn") / "datasets" / "descr" / "diabetes.rst"
    return ["--question", "how many patients are there?", "--passages", str(passages)]


def _source(name: str, root: Path | None) -> tuple[type[QuestionsWithCandidates], list[Path]]:
    """The builder of a published data set and the files that it will read."""
    if name == "wikiqa":
        first = datasets.official_file(root, "WikiQA-train.tsv", get_it_from=formats.WIKIQA_SITE)
        return WikiQa, sorted([*first.parent.glob("*.tsv"), *first.parent.glob("*.ref")])
    if name == "folder":
        site = "your own data: a table with the columns question, candidate, label"
        first = datasets.official_file(root, "train.csv", get_it_from=site)
        return Folder, sorted(first.parent.glob("*.csv"))
    if root is not None and (jsonl := _jsonl_files(root)):
        return TrecQaJsonl, list(jsonl.values())
    part = "train" if name == "trecqa_train" else "train-all"
    folder = datasets.official_file(root, part, get_it_from=formats.TRECQA_SITE).parent
    return TrecQa, [file for part in TOKS_PARTS for file in sorted((folder / part).glob("*.t*"))]


def _splits(name: str, prepared: set[str]) -> dict[str, str]:
    """Our splits by their name in the prepared data.

    Of TREC-QA the raw part is taken where it is there: its questions with both a right and a wrong
    sentence are the clean part.
    """
    if not name.startswith("trecqa"):
        return {split: split for split in prepared}
    choices = {
        "train": ("train",) if name == "trecqa_train" else ("train_all",),
        "validation": ("raw_dev", "clean_dev", "dev"),
        "test": ("raw_test", "clean_test", "test"),
    }
    available = {
        split: [part for part in parts if part in prepared] for split, parts in choices.items()
    }
    return {split: parts[0] for split, parts in available.items() if parts}


def _jsonl_files(root: Path) -> dict[str, Path]:
    files_by_part = {}
    for part in JSONL_PARTS:
        for path in (root / f"{part}.jsonl", root / f"{part}.jsonl.gz"):
            if path.exists():
                files_by_part.setdefault(part, path)
    return files_by_part


def _package_folder(name: str) -> Path:
    return files.package_folder(name, docstrings.PACKAGES[name])


def _mined_state(packages: Sequence[str]) -> str:
    """A short name for the versions of the packages.

    Raises:
        UserError: one is not installed.
    """
    folders = [_package_folder(name) for name in packages]
    versions = [
        f"{folder.name} {metadata.version(docstrings.PACKAGES[folder.name])}" for folder in folders
    ]
    return datasets.fingerprint([], facts=versions)
