"""The data sets of answer selection: official files -> records on disk -> tf.data.

A record is a question with all its candidates:

    question_id  string        candidates     string (candidates,)
    question     string        labels         int32 (candidates,), 1 = answers the question
                               candidate_ids  string (candidates,), distinct within the question

Candidates stand in the order of their ids. An id begins with a hash of the texts, so neither order
nor ids tell which candidate is right: in some published files the right ones come first.
A data set is a function from its folder to the questions of its parts, and a row of DATA_SETS.
"""

import dataclasses
import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf
import tensorflow_datasets as tfds

from apps.answer_selection.config import APP, DataConfig
from apps.answer_selection.corpora import docstrings, formats
from apps.answer_selection.corpora.formats import Parts, Question
from common.inputs import builders, datasets
from common.runs import files


class DataSet(NamedTuple):
    """A value of --data.name but "docstrings".

    Attributes:
        read: from the folder to the questions of each part.
        first: files or folders of which one must be there.
        files: those that are read; training prepares the data anew when they change.
        site: where they come from.
    """

    read: Callable[[Path], Parts]
    first: tuple[str, ...]
    files: tuple[str, ...]
    site: str


DATA_SETS = {
    **{
        name: DataSet(
            functools.partial(formats.read_trecqa, train=part),
            first=(part, f"{part}.jsonl", f"{part}.jsonl.gz"),
            files=(f"{part}/*", "raw-dev/*", "raw-test/*", "*.jsonl*"),
            site=formats.TRECQA_SITE,
        )
        for name, part in (("trecqa", "train-all"), ("trecqa_train", "train"))
    },
    "wikiqa": DataSet(
        formats.read_wikiqa,
        first=("WikiQA-train.tsv",),
        files=("WikiQA-*.tsv",),
        site="the WikiQA page of Microsoft Research",
    ),
    "folder": DataSet(
        formats.read_folder,
        first=("train.csv",),
        files=("*.csv",),
        site="your own data: a table with the columns question, candidate, label",
    ),
}


@dataclasses.dataclass(eq=False)
class Source(tfds.core.BuilderConfig):
    """A data set and its files. Its name changes when they do, so stale data is never used."""

    read: Callable[[], Parts] = dict


class QuestionsWithCandidates(builders.Builder):
    """Stores the records of any of the data sets."""

    name = APP
    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        features = {
            "question_id": text,
            "question": text,
            "candidates": tfds.features.Sequence(text),
            "labels": tfds.features.Sequence(tf.int32),
            "candidate_ids": tfds.features.Sequence(text),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        parts = self.builder_config.read()
        return {part: self._generate_examples(questions) for part, questions in parts.items()}

    def _generate_examples(self, questions: Iterable[Question]) -> Iterator:
        return datasets.examples(questions, make_records, self.broken)


def make_records(question: Question, broken: datasets.BrokenRows) -> Iterator[tuple[str, dict]]:
    """The (key, record) of a question; candidates that cannot be used are counted and left out."""
    unusable = None if _has_word(question.question) else "empty question"
    times: Counter[str] = Counter()  # the same text may come twice
    rows = []
    for text, label, where, problem in question.candidates:
        where = where or f"question {question.question_id}, {text[:60]!r}"
        empty = None if _has_word(text) else "empty candidate"
        if broken.use(where, problem or unusable or empty):
            key = f"{question.question_id}\n{text}\n{times[text]}"
            times[text] += 1
            rows.append((hashlib.sha256(key.encode()).hexdigest()[:16], text, label))
    if rows:
        ids, texts, labels = zip(*sorted(rows), strict=True)
        record = {"candidates": list(texts), "labels": list(labels), "candidate_ids": list(ids)}
        named = {"question_id": question.question_id, "question": question.question}
        yield question.question_id, named | record


def _has_word(text: str) -> bool:
    return any(map(str.isalnum, text))


def make_builder(config: DataConfig) -> QuestionsWithCandidates:
    """The builder of a data set, before anything but the list of its files is read.

    Raises:
        UserError: a file or a package is missing.
    """
    if config.name == "docstrings":
        folders = [_package_folder(name) for name in config.packages]
        versions = [
            f"{name} {metadata.version(docstrings.PACKAGES[name])}" for name in config.packages
        ]
        state = datasets.fingerprint([], facts=versions)
        read = functools.partial(docstrings.read, folders)
    else:
        data_set = DATA_SETS[config.name]
        names = [name for name in data_set.first if (config.root or Path()).joinpath(name).exists()]
        name = next(iter(names), data_set.first[0])
        first = datasets.official_file(config.root, name, get_it_from=data_set.site)
        paths = [path for name in data_set.files for path in sorted(first.parent.glob(name))]
        state = datasets.fingerprint(paths)
        read = functools.partial(data_set.read, first.parent)
    return QuestionsWithCandidates(
        config=Source(name=f"{config.name}-{state}", read=read),
        data_dir=None if config.cache_dir is None else str(config.cache_dir),
    )


def example_arguments() -> list[str]:
    """Arguments for `predict` with a text that comes with the default data's packages."""
    passages = _package_folder("sklearn") / "datasets" / "descr" / "diabetes.rst"
    return ["--question", "how many patients are there?", "--passages", str(passages)]


def _package_folder(name: str) -> Path:
    return files.package_folder(name, docstrings.PACKAGES[name])
