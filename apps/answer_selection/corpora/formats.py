"""The file formats of answer selection, read in plain Python, one question at a time.

records.py checks and stores what the readers give.
"""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from apps.answer_selection.corpora.records import Candidate, Question
from common.inputs import datasets, tables
from common.runs.errors import UserError

TRECQA_SITE = "the castorini repositories that carry TREC-QA (NCE-CNN-Torch), or lexdecomp (JSONL)"
WIKIQA_SITE = "the WikiQA page of Microsoft Research"
WIKIQA_COLUMNS = ("QuestionID", "Question", "SentenceID", "Sentence", "Label")
CSV_COLUMNS = ("question", "candidate", "label")

# The sentences of train-all have <num> for such words, those of all other parts the digits.
_NUMBER = re.compile(r"(?<!\S)\d[\d,]*(\.\d+)?(?!\S)")


class _Row(NamedTuple):
    where: str
    question_id: str
    question: str
    candidate: Candidate


def fold_numbers(text: str) -> str:
    """Writes `<num>` for each number that stands alone, as TREC-QA's train-all part does.

    >>> fold_numbers("in 1989 some 1,200.5 of the 51-day .08")
    'in <num> some <num> of the 51-day .08'
    """
    return _NUMBER.sub("<num>", text)


def read_toks(folder: Path) -> Iterator[Question]:
    """Reads a part of TREC-QA as castorini's repositories hold it: four files with equal lines."""
    columns = {
        name: list(tables.lines(datasets.official_file(folder, name, get_it_from=TRECQA_SITE)))
        for name in ("id.txt", "a.toks", "b.toks", "sim.txt")
    }
    counts = {name: len(lines) for name, lines in columns.items()}
    if len(set(counts.values())) > 1:
        raise UserError(
            f"{folder}: expected as many lines in each file, got {counts}: a file is cut short, "
            f"get it from {TRECQA_SITE}"
        )
    rows = (
        _Row(
            f"{folder / 'sim.txt'}:{number}",
            question_id,
            fold_numbers(question),
            Candidate(fold_numbers(text), _label(label, f"{folder / 'sim.txt'}:{number}")),
        )
        for number, (question_id, question, text, label) in enumerate(
            zip(*columns.values(), strict=True), start=1
        )
    )
    return _by_question(rows)


def read_jsonl(path: Path) -> Iterator[Question]:
    """Reads TREC-QA as lexdecomp holds it: a question with its candidates a line, case kept."""
    for number, line in enumerate(tables.lines(path), start=1):
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
            question = fold_numbers(row["question"])
            pairs = [(pair["sentence"], pair["label"]) for pair in row["candidates"]]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise UserError(
                f"{where}: expected an object with question and candidates (sentence, label), "
                f"got {line[:60]!r} ({error}): get the file from {TRECQA_SITE}"
            ) from None
        candidates = [Candidate(fold_numbers(text), _label(label, where)) for text, label in pairs]
        yield Question(str(number), question, candidates)


def read_wikiqa(path: Path) -> Iterator[Question]:
    """Reads an official WikiQA table; the labels must be those of the `.ref` file beside it."""
    reference = path.with_suffix(".ref")
    labels = None
    if reference.exists():
        labels = [line.split()[-1] for line in tables.lines(reference) if line.strip()]

    def rows() -> Iterator[_Row]:
        number = 0
        table = tables.read(path, WIKIQA_COLUMNS, dialect="excel-tab")
        for number, (where, row, problem) in enumerate(table, start=1):
            if problem:
                raise UserError(f"{where}: {problem}")
            label = _label(row["Label"], where)
            if labels is not None and labels[number - 1 : number] != [str(label)]:
                raise UserError(
                    f"{where}: expected the label of line {number} of {reference.name}, "
                    f"got {label}: get both files from {WIKIQA_SITE}"
                )
            candidate = Candidate(row["Sentence"], label)
            yield _Row(where, row["QuestionID"], row["Question"], candidate)
        if labels is not None and number != len(labels):
            raise UserError(
                f"{path}: expected {len(labels)} rows as in {reference.name}, got {number}: "
                f"get both files from {WIKIQA_SITE}"
            )

    return _by_question(rows())


def read_csv(path: Path) -> list[Question]:
    """Reads a table of one's own; the rows of a question may stand apart."""
    questions: dict[str, Question] = {}
    for row in tables.read(path, CSV_COLUMNS):
        text, label = row.cells["question"], row.cells["label"]
        problem = row.problem
        if problem is None and label not in ("0", "1"):
            problem = f"expected a label 0 or 1, got {label!r}"
        question = questions.setdefault(
            text, Question(f"{path.stem}-{len(questions) + 1}", text, [])
        )
        question.candidates.append(
            Candidate(row.cells["candidate"], int(label == "1"), row.where, problem)
        )
    return list(questions.values())


def _by_question(rows: Iterable[_Row]) -> Iterator[Question]:
    """Joins rows that stand together; refuses a question that comes back later."""
    finished = set()
    for question_id, group in groupby(rows, key=lambda row: row.question_id):
        together = list(group)
        first = together[0]
        if question_id in finished:
            raise UserError(
                f"{first.where}: expected the rows of question {question_id!r} to stand together, "
                "got more after another question: sort the file by question"
            )
        finished.add(question_id)
        for row in together:
            if row.question != first.question:
                raise UserError(
                    f"{row.where}: expected one text for question {question_id!r}, got "
                    f"{first.question[:60]!r} and {row.question[:60]!r}: correct the ids"
                )
        yield Question(question_id, first.question, [row.candidate for row in together])


def _label(value: object, where: str) -> int:
    if str(value) not in ("0", "1"):
        raise UserError(f"{where}: expected a label 0 or 1, got {value!r}: correct the row")
    return int(str(value))
