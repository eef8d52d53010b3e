"""The data sets of visual question answering: official files -> records on disk -> tf.data.

A record is an image with all its questions, so that an image is stored and read once:

    image       encoded bytes        question       string (questions,)
    image_id    string               answer         string (questions,), the target in training
                                     answers        string (questions, humans), for scoring
                                     question_type  string (questions,)

A data set is a function from its folder to the images of its parts, and a row of DATA_SETS.
Validation images are held back from the official training images, by image and never by question;
`test` is the official part on which published figures stand.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf
import tensorflow_datasets as tfds

from apps.visual_qa.config import APP, DataConfig
from common.inputs import builders, datasets, images, tables
from common.runs import files
from common.runs.errors import UserError
from common.scaling import apache_beam
from common.scoring import vqa_answers

VALIDATION_SHARE = 0.1

EASY_VQA = "easy-vqa==1.0"
DAQUAR_SITE = "the DAQUAR page of the Max Planck Institute for Informatics"
VQA_SITE = "visualqa.org (questions, annotations) and cocodataset.org (images)"
CLEVR_SITE = "https://cs.stanford.edu/people/jcjohns/clevr (CLEVR_v1.0.zip, 18 GB, unpacked)"
FOLDER_HINT = "your own data: a table with the columns image, question, answer, beside the images"


class Question(NamedTuple):
    """A question about an image, with what people answered."""

    question: str
    answer: str
    answers: tuple[str, ...]
    question_type: str
    where: str = ""  # file and line, in a table of the user
    problem: str | None = None  # why it cannot be used


class ImageQuestions(NamedTuple):
    """An image file and its questions."""

    image_id: str
    path: Path
    questions: list[Question]


Parts = dict[str, list[ImageQuestions]]  # by "train", "validation" and, if it is there, "test"
Rows = Iterable[tuple[str, Path, Question]]  # image id, its file, a question about it


def read_easy_vqa(root: Path) -> Parts:
    """easy-VQA: 5,000 pictures of one coloured shape, 48,248 questions (MIT, Victor Zhou 2019)."""

    def read(part: str) -> Rows:
        for text, answer, image_id in files.read_json(root / part / "questions.json"):
            kind = "yes/no" if answer in ("yes", "no") else "color" if "color" in text else "shape"
            path = root / part / "images" / f"{image_id}.png"
            yield f"{part}-{image_id}", path, Question(text, answer, (answer,), kind)

    return _hold_back(read("train")) | {"test": _group(read("test"))}


def read_folder(root: Path) -> Parts:
    """The user's images and questions.csv: columns image, question, answer (inputs/tables.py).

    A column `type` names kinds of questions that `evaluate` scores apart; without it, the first two
    words of a question do. Answers are lower-cased: "Yes" and "yes" are one class.
    """

    def read(row: tables.Row) -> Question:
        text, answer = row.cells["question"], row.cells["answer"].lower()
        kind = row.cells.get("type") or " ".join(text.lower().split()[:2])
        return Question(text, answer, (answer,), kind, row.where, row.problem)

    parts = tables.read_images(root / "questions.csv", ["question", "answer"])
    return {
        part: [
            ImageQuestions(name, path, [read(row) for row in rows]) for name, path, rows in groups
        ]
        for part, groups in parts.items()
    }


def _hold_back(rows: Rows) -> Parts:
    """Divides official training questions into our training and validation part, by image."""
    parts: Parts = {"train": [], "validation": []}
    for group in _group(rows):
        held_back = datasets.is_held_back(group.image_id, share=VALIDATION_SHARE)
        parts["validation" if held_back else "train"].append(group)
    return parts


def _group(rows: Rows) -> list[ImageQuestions]:
    groups: dict[str, ImageQuestions] = {}
    for image_id, path, question in rows:
        groups.setdefault(image_id, ImageQuestions(image_id, path, [])).questions.append(question)
    return list(groups.values())


# Published data sets: a copy for another task deletes from here to DataSet.


def read_daquar(root: Path) -> Parts:
    """DAQUAR, all 894 objects (Malinowski & Fritz 2014, https://arxiv.org/abs/1410.0210).

    Question lines and answer lines in turn; "a, b" is one answer that lists two things. The file of
    the test part may be absent. Images are photos of NYU-Depth v2.
    """
    folder = datasets.official_file(root, "images", get_it_from=DAQUAR_SITE)

    def read(path: Path) -> Rows:
        text = files.read_text(path, errors="replace")
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        if len(lines) % 2:
            raise UserError(
                f"{path}: expected question and answer lines in turn, got {len(lines)} "
                f"lines: the file is cut short, get it from {DAQUAR_SITE}"
            )
        for line, answer in zip(lines[::2], lines[1::2], strict=True):
            number = re.search(r"\bimage\s?(\d+)\b", line)
            if number is None:
                raise UserError(
                    f"{path}: expected a question about an image<number>, got {line!r}: "
                    f"get the file from {DAQUAR_SITE}"
                )
            # The number would tell a question-only model which photo it is about.
            text = re.sub(r"\b(in|on|of)?\s*(the|this)?\s*image\s?\d+\b", "", line).strip()
            answer = ", ".join(sorted({part.strip() for part in answer.split(",")} - {""}))
            image_id = f"image{number[1]}"
            png, jpg = folder / f"{image_id}.png", folder / f"{image_id}.jpg"
            kind = " ".join(text.split()[:2])
            yield image_id, jpg if jpg.exists() else png, Question(text, answer, (answer,), kind)

    test = root / "qa.894.raw.test.txt"
    train = datasets.official_file(root, "qa.894.raw.train.txt", get_it_from=DAQUAR_SITE)
    return _hold_back(read(train)) | ({"test": _group(read(test))} if test.exists() else {})


def read_vqa_v2(root: Path) -> Parts:
    """VQA v2 (Goyal et al. 2017, https://arxiv.org/abs/1612.00837) on COCO 2014 photos.

    `test` is the official validation part: the official test answers are not public.
    """

    def read(part: str) -> Rows:
        folder = datasets.official_file(root, part, get_it_from=VQA_SITE)
        questions, annotations = VQA_QUESTIONS.format(part), VQA_ANNOTATIONS.format(part)
        texts = {
            row["question_id"]: (row["question"], problem and f"{where}: {problem}")
            for where, row, problem in _rows(root, questions, "questions", _QUESTION, VQA_SITE)
        }
        absent = ("", f"no question of its question_id in {questions}")
        listed = _rows(root, annotations, "annotations", _ANNOTATION, VQA_SITE)
        for where, row, problem in listed:
            answers = tuple(answer["answer"] for answer in row["answers"])
            text, unasked = texts.get(row["question_id"], absent)
            target, kind = _commonest_answer(answers), row["answer_type"]
            question = Question(text, target, answers, kind, where, problem or unasked)
            path = folder / f"COCO_{part}_{row['image_id']:012d}.jpg"
            yield f"{part}-{row['image_id']}", path, question

    return _hold_back(read("train2014")) | {"test": _group(read("val2014"))}


VQA_QUESTIONS = "v2_OpenEnded_mscoco_{}_questions.json"
VQA_ANNOTATIONS = "v2_mscoco_{}_annotations.json"
_QUESTION = {"question_id": 0, "question": ""}
_ANNOTATION = {"question_id": 0, "image_id": 0, "answer_type": "", "answers": [{"answer": ""}]}


def _commonest_answer(answers: tuple[str, ...]) -> str:
    """The answer that scores best: the official evaluation normalises only where people differ."""
    if not answers:
        return ""
    if len(set(answers)) > 1:
        # "The" normalises to nothing; a question may not drop out of the official count for that.
        answers = tuple(vqa_answers.normalize_vqa_answer(answer) or answer for answer in answers)
    return Counter(answers).most_common(1)[0][0]


def read_clevr(root: Path) -> Parts:
    """CLEVR v1.0 (Johnson et al. 2017, https://arxiv.org/abs/1612.06890), rendered scenes.

    `test` is the official validation part: the official test answers are not public.
    """

    def read(part: str) -> Rows:
        folder = datasets.official_file(root, f"CLEVR_v1.0/images/{part}", get_it_from=CLEVR_SITE)
        path = CLEVR_QUESTIONS.format(part)
        for where, row, problem in _rows(root, path, "questions", _CLEVR_QUESTION, CLEVR_SITE):
            name, answer = tables.plain_name(row["image_filename"]), row["answer"]
            yes_no = answer in ("yes", "no")
            kind = "yes/no" if yes_no else "count" if answer.isdecimal() else "attribute"
            question = Question(row["question"], answer, (answer,), kind, where, problem)
            yield name, tables.find(folder, name), question

    return _hold_back(read("train")) | {"test": _group(read("val"))}


CLEVR_QUESTIONS = "CLEVR_v1.0/questions/CLEVR_{}_questions.json"
_CLEVR_QUESTION = {"image_filename": "", "question": "", "answer": ""}


def _rows(root: Path, name: str, key: str, like: dict, site: str) -> Iterator:
    """The rows of an official JSON file, with their places and problems."""
    path = datasets.official_file(root, name, get_it_from=site)
    return files.read_json_rows(path, key, like, get_it_from=site)


class DataSet(NamedTuple):
    """A value of --data.name.

    Attributes:
        read: from the folder to the images of each part.
        files: that must be there; training prepares the data anew when their folder changes.
        site: where they come from.
        licence: for the card of a model.
    """

    read: Callable[[Path], Parts]
    files: tuple[str, ...]
    site: str
    licence: str


DATA_SETS = {
    "easy_vqa": DataSet(
        read_easy_vqa,
        files=("train/questions.json", "test/questions.json"),
        site=EASY_VQA,
        licence="easy-VQA, MIT (Victor Zhou 2019)",
    ),
    "folder": DataSet(
        read_folder,
        files=("questions.csv",),
        site=FOLDER_HINT,
        licence="the terms of your own data",
    ),
    "daquar": DataSet(
        read_daquar,
        files=("qa.894.raw.train.txt",),
        site=DAQUAR_SITE,
        licence="DAQUAR and NYU-Depth v2, research use",
    ),
    "vqa_v2": DataSet(
        read_vqa_v2,
        files=(VQA_QUESTIONS.format("train2014"),),
        site=VQA_SITE,
        licence="VQA v2 annotations CC BY 4.0; COCO images under their Flickr terms",
    ),
    "clevr": DataSet(
        read_clevr,
        files=(CLEVR_QUESTIONS.format("train"),),
        site=CLEVR_SITE,
        licence="CLEVR, CC BY 4.0",
    ),
}


@dataclasses.dataclass(eq=False)
class Source(tfds.core.BuilderConfig):
    """A data set and its folder. Its name changes when the files do."""

    data_set: str = ""
    root: Path = Path()


class ImagesWithQuestions(builders.Builder):
    """Stores the records of any of the data sets."""

    name = APP
    VERSION = tfds.core.Version("1.0.0")

    def prepare(self, *, beam: str | None) -> None:
        """Writes the records, unless that is done; `beam` are options of an Apache Beam pipeline.

        Raises:
            UserError: files are missing or damaged, or too many rows are broken.
        """
        self.on_beam = beam is not None
        apache_beam.prepare(self, self.broken, options=beam)

    def read(self, split: str) -> tf.data.Dataset:
        """Streams the records (see the module) of a split from disk, in a fixed order."""
        undecoded = {"image": tfds.decode.SkipDecoding()}
        records = self.as_dataset(split=split, decoders=undecoded, shuffle_files=False)
        return records.map(
            lambda record: {**record, "answers": record["answers"].to_tensor("")},
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        texts = tfds.features.Sequence(text)
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "image_id": text,
            "question": texts,
            "answer": texts,
            "answers": tfds.features.Sequence(texts),
            "question_type": texts,
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        parts = DATA_SETS[self.builder_config.data_set].read(self.builder_config.root)
        return {part: self._generate_examples(rows) for part, rows in parts.items()}

    def _generate_examples(self, rows: Iterable[ImageQuestions]):
        return apache_beam.examples(rows, make_records, self.broken, on_beam=self.on_beam)


def make_records(
    row: ImageQuestions, broken: datasets.BrokenRows
) -> Iterator[tuple[str, dict[str, object]]]:
    """The (key, record) of an image; questions that cannot be used are counted and left out."""
    image, unreadable = images.read(row.path)
    questions = []
    for question in row.questions:
        # However an answer is spaced, it is one class, and a line of a vocabulary holds it.
        answer, kind = map(tables.one_line, (question.answer, question.question_type))
        answers = tuple(map(tables.one_line, question.answers))
        question = question._replace(answer=answer, answers=answers, question_type=kind)
        where = f"{row.path}, {question.question[:60]!r}"
        where = f"{question.where}: {where}" if question.where else where
        if broken.use(where, question.problem or unreadable or _problem(question)):
            questions.append(question)
    if questions:
        columns = {
            name: [getattr(question, name) for question in questions]
            for name in ("question", "answer", "answers", "question_type")
        }
        yield row.image_id, {"image": image, "image_id": row.image_id, **columns}


def make_builder(config: DataConfig) -> ImagesWithQuestions:
    """The builder of a data set, before anything but the list of its files is read.

    Raises:
        UserError: a file or a package is missing.
    """
    data_set, root = DATA_SETS[config.name], config.root
    if config.name == "easy_vqa":
        root = files.package_folder("easy_vqa", EASY_VQA) / "data"
    paths = [
        datasets.official_file(root, file, get_it_from=data_set.site) for file in data_set.files
    ]
    state = datasets.fingerprint([*paths, *sorted(paths[0].parent.glob("*"))])
    return ImagesWithQuestions(
        config=Source(name=f"{config.name}-{state}", data_set=config.name, root=root),
        data_dir=None if config.cache_dir is None else str(config.cache_dir),
    )


def example_arguments() -> list[str]:
    """Arguments for `predict` with an image of the default data."""
    folder = files.package_folder("easy_vqa", EASY_VQA)
    image = folder / "data" / "test" / "images" / "0.png"
    return ["--image", str(image), "--question", "what color is the shape?"]


def _problem(question: Question) -> str | None:
    if not re.search(r"\w", question.question):
        return "empty question"
    return None if question.answer else "empty answer"
