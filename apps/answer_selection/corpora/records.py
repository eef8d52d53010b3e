"""The record of answer selection: a question with all its candidates, checked and in fair order.

    question_id  string        candidates     string (candidates,)
    question     string        labels         int32 (candidates,), 1 = answers the question
                               candidate_ids  string (candidates,), distinct within the question

Candidates stand in the order of their ids. An id begins with a hash of the texts, so neither order
nor ids tell which candidate is right: in some published files the right ones come first.
"""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf
import tensorflow_datasets as tfds

from common.inputs import builders, datasets
from common.runs.errors import UserError

VALIDATION_SHARE = 0.1
MAX_WORDS = 1000  # a longer text is a file in the wrong column, not a sentence


class Candidate(NamedTuple):
    """A sentence and whether it answers the question (1) or not (0)."""

    text: str
    label: int
    where: str = ""  # file and line, in a table of one's own
    problem: str | None = None  # why its row cannot be used


class Question(NamedTuple):
    """A question with all its candidates."""

    question_id: str
    question: str
    candidates: list[Candidate]


@dataclasses.dataclass(eq=False)
class Source(tfds.core.BuilderConfig):
    """Where the official files are; its name changes when they do, so stale data is never used."""

    root: Path | None = None
    packages: Sequence[str] = ()  # of docstrings


class QuestionsWithCandidates(builders.Builder):
    """What the builders share: the record and the check of its texts."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, **kwargs):
        self.broken = datasets.BrokenRows(type(self).__name__)
        super().__init__(**kwargs)

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

    def _generate_examples(self, questions: Iterable[Question]) -> Iterator:
        """Checks and yields (key, record); candidates without use are counted and left out."""
        part = datasets.BrokenRows(self.broken.source, max_share=self.broken.max_share)
        num_questions = 0
        for question in questions:
            unusable = _problem("question", question.question)
            candidates = [
                candidate
                for candidate in question.candidates
                if part.use(
                    candidate.where or f"question {question.question_id}, {candidate.text[:60]!r}",
                    candidate.problem or unusable or _problem("candidate", candidate.text),
                )
            ]
            if candidates:
                num_questions += 1
                record = make_record(question._replace(candidates=candidates))
                yield question.question_id, record
        # By itself: the rows of a large training part would hide a test part that is all broken.
        part.check()
        if not num_questions:
            raise UserError(
                f"{part.source}: expected questions with candidates in every file, one has none: "
                f"look into {self.builder_config.root}"
            )
        self.broken.num_rows += part.num_rows
        self.broken.skipped += part.skipped


def with_validation(
    builder: QuestionsWithCandidates, questions: list[Question]
) -> dict[str, Iterator]:
    """Holds back a tenth of the questions by a hash of their text.

    Raises:
        UserError: there are too few to have some in both parts.
    """
    parts: dict[bool, list[Question]] = {False: [], True: []}
    for question in questions:
        parts[datasets.is_held_back(question.question, share=VALIDATION_SHARE)].append(question)
    if not all(parts.values()):
        raise UserError(
            f"expected enough questions to hold some back for validation, got {len(questions)}: "
            "add validation.csv"
        )
    return {
        "train": builder._generate_examples(parts[False]),
        "validation": builder._generate_examples(parts[True]),
    }


def _problem(what: str, text: str) -> str | None:
    if not any(letter.isalnum() for letter in text):
        return f"empty {what}"
    num_words = len(text.split())
    return f"{what} of {num_words} words, over {MAX_WORDS}" if num_words > MAX_WORDS else None


def make_record(question: Question) -> dict:
    """The record with candidates in the order of their ids, which are hashes of the texts."""
    times: Counter[str] = Counter()
    identified = []
    for candidate in question.candidates:
        key = f"{question.question_id}\n{candidate.text}\n{times[candidate.text]}"
        times[candidate.text] += 1
        identified.append((hashlib.sha256(key.encode()).hexdigest()[:16], candidate))
    identified.sort(key=lambda pair: pair[0])
    return {
        "question_id": question.question_id,
        "question": question.question,
        "candidates": [candidate.text for _, candidate in identified],
        "labels": [candidate.label for _, candidate in identified],
        "candidate_ids": [candidate_id for candidate_id, _ in identified],
    }
