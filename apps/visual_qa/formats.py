"""The official file formats of visual question answering, read in plain Python.

Each reader gives (image id, path of its image, its questions); datasets.py checks and stores them.
"""

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

from common.inputs import datasets, tables
from common.runs import files
from common.runs.errors import UserError
from common.scoring import vqa_answers

EASY_VQA = "easy-vqa==1.0"
DAQUAR_SITE = "the DAQUAR page of the Max Planck Institute for Informatics"
FOLDER_HINT = "your own data: a table with the columns image, question, answer, beside the images"
VQA_SITE = "visualqa.org (questions, annotations) and cocodataset.org (images)"
VQA_QUESTIONS = "v2_OpenEnded_mscoco_{}_questions.json"
VQA_ANNOTATIONS = "v2_mscoco_{}_annotations.json"


class Question(NamedTuple):
    """One question about an image, with what people answered."""

    question: str
    answer: str
    answers: tuple[str, ...]
    question_type: str
    row: tables.Row | None = None  # of a table of one's own


ImageQuestions = tuple[str, Path, list[Question]]


def read_easy_vqa(folder: Path, part: str) -> list[ImageQuestions]:
    by_image = defaultdict(list)
    for question, answer, image_id in files.read_json(folder / "questions.json"):
        kind = "yes/no" if answer in ("yes", "no") else "color" if "color" in question else "shape"
        by_image[image_id].append(Question(question, answer, (answer,), kind))
    return [
        (f"{part}-{image_id}", folder / "images" / f"{image_id}.png", questions)
        for image_id, questions in by_image.items()
    ]


def read_daquar(path: Path) -> list[ImageQuestions]:
    """Reads question lines and answer lines in turn; "a, b" is one answer that lists two things."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    lines = [line.strip() for line in lines if line.strip()]
    if len(lines) % 2:
        raise UserError(
            f"{path}: expected question and answer lines in turn, got {len(lines)} "
            f"lines: the file is cut short, get it from {DAQUAR_SITE}"
        )
    by_image = defaultdict(list)
    for number in range(0, len(lines), 2):
        found = re.search(r"\bimage\s?(\d+)\b", lines[number])
        if found is None:
            raise UserError(
                f"{path}: expected a question about an image<number>, got "
                f"{lines[number]!r}: get the file from {DAQUAR_SITE}"
            )
        # The number would tell a question-only model which photo it is about.
        question = re.sub(r"\b(in|on|of)?\s*(the|this)?\s*image\s?\d+\b", "", lines[number])
        answer = ", ".join(sorted({part.strip() for part in lines[number + 1].split(",")} - {""}))
        kind = " ".join(question.split()[:2])
        by_image[f"image{found[1]}"].append(Question(question.strip(), answer, (answer,), kind))
    folder = datasets.official_file(path.parent, "images", get_it_from=DAQUAR_SITE)
    return [
        (image_id, _either(folder / f"{image_id}.png", folder / f"{image_id}.jpg"), questions)
        for image_id, questions in by_image.items()
    ]


def _either(first: Path, second: Path) -> Path:
    return second if second.exists() else first


def read_vqa_v2(root: Path | None, part: str) -> list[ImageQuestions]:
    def read_list(name: str, key: str) -> list[dict]:
        path = datasets.official_file(root, name.format(part), get_it_from=VQA_SITE)
        values = files.read_json(path).get(key)
        if not isinstance(values, list):
            raise UserError(f"{path}: expected a list under {key!r}: get it from {VQA_SITE}")
        return values

    texts = {one["question_id"]: one["question"] for one in read_list(VQA_QUESTIONS, "questions")}
    folder = datasets.official_file(root, part, get_it_from=VQA_SITE)
    by_image = defaultdict(list)
    for one in read_list(VQA_ANNOTATIONS, "annotations"):
        answers = tuple(answer["answer"] for answer in one["answers"])
        target = _commonest_answer(answers)
        question = Question(texts.get(one["question_id"], ""), target, answers, one["answer_type"])
        by_image[one["image_id"]].append(question)
    return [
        (f"{part}-{image_id}", folder / f"COCO_{part}_{image_id:012d}.jpg", questions)
        for image_id, questions in by_image.items()
    ]


def read_folder(path: Path) -> dict[str, list[ImageQuestions]]:
    """Reads a table with the columns image, question and answer, by part (common/inputs/tables.py).

    A column `type` names kinds of questions that `evaluate` scores apart; without it, the first two
    words of a question do.

    Raises:
        UserError: a column is missing, or no image is there.
    """
    return {
        part: [(name, file, [_own_question(row) for row in rows]) for name, file, rows in listed]
        for part, listed in tables.read_images(path, ["question", "answer"]).items()
    }


def _own_question(row: tables.Row) -> Question:
    question, answer = row.cells["question"], row.cells["answer"].lower()
    kind = row.cells.get("type") or " ".join(question.lower().split()[:2])
    return Question(question, answer, (answer,), kind, row)


def _commonest_answer(answers: tuple[str, ...]) -> str:
    """The answer that scores best: the official evaluation normalises only where people differ."""
    if not answers:
        return ""
    if len(set(answers)) > 1:
        # "The" normalises to nothing; a question may not drop out of the official count for that.
        answers = tuple(vqa_answers.normalize_vqa_answer(one) or one for one in answers)
    return Counter(answers).most_common(1)[0][0]
