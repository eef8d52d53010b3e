"""The file formats of answer selection, read in plain Python: a folder -> its questions by part."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from common.inputs import datasets, tables
from common.runs import files
from common.runs.errors import UserError

TRECQA_SITE = "the castorini repositories that carry TREC-QA (NCE-CNN-Torch), or lexdecomp (JSONL)"
# What holds the id of a question (not in a CSV), its text, a candidate, and the label.
TOKS_FILES = ("id.txt", "a.toks", "b.toks", "sim.txt")
WIKIQA_COLUMNS = ("QuestionID", "Question", "Sentence", "Label")
CSV_COLUMNS = ("question", "candidate", "label")
VALIDATION_SHARE = 0.1
_JSONL, _PAIR = {"question": "", "candidates": []}, {"sentence": "", "label": 0}

# The sentences of train-all have <num> for such words, those of all other parts the digits.
_NUMBER = re.compile(r"(?<!\S)\d[\d,]*(\.\d+)?(?!\S)")


class Candidate(NamedTuple):
    """A sentence and whether it answers the question (1) or not (0)."""

    text: str
    label: int
    where: str = ""  # file and line
    problem: str | None = None  # why its row cannot be used


class Question(NamedTuple):
    """A question with all its candidates."""

    question_id: str
    question: str
    candidates: list[Candidate]


Parts = dict[str, list[Question]]  # by "train", "validation" and, if it is there, "test"


def fold_numbers(text: str) -> str:
    """Writes `<num>` for each number that stands alone, as TREC-QA's train-all part does.

    >>> fold_numbers("in 1989 some 1,200.5 of the 51-day .08")
    'in <num> some <num> of the 51-day .08'
    """
    return _NUMBER.sub("<num>", text)


def read_trecqa(root: Path, *, train: str) -> Parts:
    """TREC-QA (Wang, Smith, Mitamura 2007; Yao et al. 2013) in one of two layouts.

    In castorini's repositories a folder is a part, and has four files with equal lines; lexdecomp
    keeps case, and has a question with its candidates a line. `train` is the part to train on.
    """
    parts: Parts = {}
    for part, name in {"train": train, "validation": "dev", "test": "test"}.items():
        folder = root / (name if part == "train" else f"raw-{name}")
        paths = [root / f"{name}.jsonl", root / f"{name}.jsonl.gz"]
        jsonl = [path for path in paths if path.exists()]
        if jsonl or folder.is_dir():
            parts[part] = _read_jsonl(jsonl[0]) if jsonl else _read_toks(folder)
    return parts


def _read_jsonl(path: Path) -> list[Question]:
    rows = []
    for number, line in enumerate(files.read_lines(path), start=1):
        try:
            value, damage = json.loads(line), None
        except (ValueError, RecursionError) as error:
            value, damage = None, f"expected JSON, got {line[:60]!r} ({error})"
        damage = damage or files.mismatch(value, _JSONL)
        row = files.repaired(value, _JSONL)
        for place, pair in enumerate([None] if damage else row["candidates"]):
            problem = damage or files.mismatch(pair, _PAIR, f".candidates[{place}]")
            pair = files.repaired(pair, _PAIR)
            texts = map(fold_numbers, (row["question"], pair["sentence"]))
            cells = zip(TOKS_FILES, (str(number), *texts, str(pair["label"])), strict=True)
            rows.append(tables.Row(f"{path}:{number}", dict(cells), problem))
    return _by_question(rows, TOKS_FILES)


def _read_toks(folder: Path) -> list[Question]:
    columns = {
        name: files.read_lines(datasets.official_file(folder, name, get_it_from=TRECQA_SITE))
        for name in TOKS_FILES
    }
    counts = {name: len(lines) for name, lines in columns.items()}
    if len(set(counts.values())) > 1:
        raise UserError(
            f"{folder}: expected as many lines in each file, got {counts}: a file is cut short, "
            f"get it from {TRECQA_SITE}"
        )
    for name in ("a.toks", "b.toks"):
        columns[name] = list(map(fold_numbers, columns[name]))
    rows = (
        tables.Row(f"{folder}:{number}", dict(zip(columns, fields, strict=True)), None)
        for number, fields in enumerate(zip(*columns.values(), strict=True), start=1)
    )
    return _by_question(rows, TOKS_FILES)


def read_wikiqa(root: Path) -> Parts:
    """WikiQA (Yang, Yih, Meek 2015): all questions, also those without a right sentence."""
    parts: Parts = {}
    for part, name in {"train": "train", "validation": "dev", "test": "test"}.items():
        path = root / f"WikiQA-{name}.tsv"
        if path.exists():
            rows = tables.read(path, WIKIQA_COLUMNS, dialect="excel-tab")
            parts[part] = _by_question(rows, WIKIQA_COLUMNS)
    return parts


def read_folder(root: Path) -> Parts:
    """Tables of one's own: train.csv, and validation.csv and test.csv where there are any.

    Without validation.csv a tenth of the training questions is held back, by a hash of the text.
    """
    parts: Parts = {}
    for part in ("train", "validation", "test"):
        path = root / f"{part}.csv"
        if path.exists():
            questions = _by_question(tables.read(path, CSV_COLUMNS), ("question", *CSV_COLUMNS))
            parts[part] = [
                question._replace(question_id=f"{part}-{number}")
                for number, question in enumerate(questions, start=1)
            ]
    if "validation" not in parts:
        questions, parts["train"], parts["validation"] = parts["train"], [], []
        for question in questions:
            key = tables.one_line(question.question)
            held_back = datasets.is_held_back(key, share=VALIDATION_SHARE)
            parts["validation" if held_back else "train"].append(question)
    return parts


def _by_question(rows: Iterable[tables.Row], columns: Sequence[str]) -> list[Question]:
    """Joins the rows of a question, which may stand apart."""
    questions: dict[str, Question] = {}
    for where, cells, problem in rows:
        question_id, text, candidate, label = (cells[name] for name in columns)
        if problem is None and label not in ("0", "1"):
            problem = f"expected a label 0 or 1, got {label!r}"
        question = Question(question_id, text, [])
        question = questions.setdefault(tables.one_line(question_id), question)
        question.candidates.append(Candidate(candidate, int(label == "1"), where, problem))
    return list(questions.values())
