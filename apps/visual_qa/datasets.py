"""The data sets of visual question answering, as tensorflow-datasets builders.

Every record is one image with all its questions, so that an image is stored and read once:

    image       encoded bytes        question       string (questions,)
    image_id    string               answer         string (questions,), the target in training
                                     answers        string (questions, humans), for scoring
                                     question_type  string (questions,)

Validation images are held back from the official training images, by image and never by question;
`test` is the official part on which published figures stand.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.datasets.clevr import clevr_dataset_builder as clevr

from apps.visual_qa import formats
from apps.visual_qa.formats import Question
from common.inputs import builders, datasets, images
from common.runs import files
from common.runs.errors import UserError
from common.scaling import apache_beam

VALIDATION_SHARE = 0.1
_QUESTION = ("question", "answer", "question_type", "answers")


@dataclasses.dataclass(eq=False)
class Source(tfds.core.BuilderConfig):
    """Where the official files are; its name changes when they do, so stale data is never used."""

    root: Path | None = None


class _ImagesWithQuestions(builders.Builder):
    """What the builders share: the record and the check of its image and questions."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, **kwargs):
        self.broken, self.on_beam = datasets.BrokenRows(type(self).__name__), False
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        questions = dict.fromkeys(_QUESTION, text) | {"answers": tfds.features.Sequence(text)}
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "image_id": text,
            "questions": tfds.features.Sequence(questions),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _generate_examples(self, by_image: Iterable[tuple[str, Path, list[Question]]]):
        return apache_beam.examples(by_image, _records, self.broken, on_beam=self.on_beam)


def _records(one: tuple[str, Path, list[Question]], broken: datasets.BrokenRows) -> Iterator:
    """Checks an image and yields its (key, record); what cannot be used is counted and left out."""
    image_id, path, questions = one
    encoded = path.read_bytes() if path.is_file() else b""
    unreadable = images.problem(encoded) if path.is_file() else "no such file"
    kept = []
    for asked in questions:
        where = f"{path}, {asked.question[:60]!r}"
        where = f"{asked.row.where}: {where}" if asked.row else where
        wrong = asked.row.problem if asked.row else None
        if broken.use(where, wrong or unreadable or _problem(asked)):
            kept.append({name: getattr(asked, name) for name in _QUESTION})
    if kept:
        yield image_id, {"image": encoded, "image_id": image_id, "questions": kept}


class EasyVqa(_ImagesWithQuestions):
    """easy-VQA: 5,000 pictures of one coloured shape, 48,248 questions (MIT, Victor Zhou 2019)."""

    def _split_generators(self, dl_manager):
        folder = self.builder_config.root
        train = formats.read_easy_vqa(folder / "train", "train")
        return _with_validation(self, train) | {
            "test": self._generate_examples(formats.read_easy_vqa(folder / "test", "test"))
        }


class Daquar(_ImagesWithQuestions):
    """DAQUAR, all 894 objects (Malinowski & Fritz 2014, https://arxiv.org/abs/1410.0210).

    Files: `qa.894.raw.train.txt`, `qa.894.raw.test.txt` (may be absent) and `images/image<n>.png`
    or `.jpg`, photos of NYU-Depth v2.
    """

    def _split_generators(self, dl_manager):
        root = self.builder_config.root
        train = datasets.official_file(
            root, "qa.894.raw.train.txt", get_it_from=formats.DAQUAR_SITE
        )
        splits = _with_validation(self, formats.read_daquar(train))
        test = root / "qa.894.raw.test.txt"
        return splits | (
            {"test": self._generate_examples(formats.read_daquar(test))} if test.exists() else {}
        )


class VqaV2(_ImagesWithQuestions):
    """VQA v2 (Goyal et al. 2017, https://arxiv.org/abs/1612.00837) on COCO 2014 photos.

    `test` is the official validation part: the official test answers are not public.
    """

    def _split_generators(self, dl_manager):
        train = formats.read_vqa_v2(self.builder_config.root, "train2014")
        return _with_validation(self, train) | {
            "test": self._generate_examples(
                formats.read_vqa_v2(self.builder_config.root, "val2014")
            )
        }


class QuestionFolder(_ImagesWithQuestions):
    """A folder of images with questions.csv."""

    def _split_generators(self, dl_manager):
        parts = formats.read_folder(self.builder_config.root / "questions.csv")
        return {part: self._generate_examples(listed) for part, listed in parts.items()}


_OFFICIAL = {  # builder, files that must be there, where they come from
    "easy_vqa": (EasyVqa, ("train/questions.json", "test/questions.json"), formats.EASY_VQA),
    "daquar": (Daquar, ("qa.894.raw.train.txt",), formats.DAQUAR_SITE),
    "vqa_v2": (VqaV2, (formats.VQA_QUESTIONS.format("train2014"),), formats.VQA_SITE),
    "folder": (QuestionFolder, ("questions.csv",), formats.FOLDER_HINT),
}


def make_builder(
    name: str, *, root: Path | None, cache_dir: Path | None, beam: str | None = None
) -> tuple[tfds.core.DatasetBuilder, dict[str, str]]:
    """Prepares a data set if need be; returns its builder and the TFDS split of each of our splits.

    `beam` are options of an Apache Beam pipeline that prepares.

    Raises:
        UserError: files are missing or damaged, the package is missing, too many rows are broken.
    """
    if name == "clevr" and beam is not None:
        raise UserError("expected no --data.beam for clevr, which is downloaded: leave it out")
    if name == "clevr":
        builder = _clevr_builder(root, None if cache_dir is None else str(cache_dir))
        datasets.prepare(builder)
        # The answers of the official test part are not public.
        held_back = f"{100 - int(100 * VALIDATION_SHARE)}%"
        return builder, {
            "train": f"train[:{held_back}]",
            "validation": f"train[{held_back}:]",
            "test": "validation",
        }
    builder = unprepared(name, root=root, cache_dir=cache_dir)
    builder.on_beam = beam is not None
    apache_beam.prepare(builder, builder.broken, options=beam)
    return builder, {split: split for split in builder.info.splits}


def unprepared(name: str, *, root: Path | None, cache_dir: Path | None) -> _ImagesWithQuestions:
    """The builder of a data set, before anything but the list of its files is read.

    Raises:
        UserError: a file or a package is missing, or the data set is downloaded.
    """
    if name not in _OFFICIAL:
        raise UserError(
            f"expected files of your own, {name} is downloaded as it is: set --data.name folder "
            "and --data.root"
        )
    if name == "easy_vqa":
        root = files.package_folder("easy_vqa", formats.EASY_VQA) / "data"
    builder_type, names, site = _OFFICIAL[name]
    paths = [datasets.official_file(root, file, get_it_from=site) for file in names]
    state = datasets.fingerprint([*paths, *sorted(paths[0].parent.glob("*"))])
    data_dir = None if cache_dir is None else str(cache_dir)
    return builder_type(data_dir=data_dir, config=Source(name=state, root=root))


def read(builder: tfds.core.DatasetBuilder, split: str) -> tf.data.Dataset:
    """Streams the records of a split (see the module) from disk, in a fixed order."""
    records = builder.as_dataset(
        split=split, decoders={"image": tfds.decode.SkipDecoding()}, shuffle_files=False
    )
    return records.map(_flat_record, num_parallel_calls=tf.data.AUTOTUNE)


def example_arguments() -> list[str]:
    """Arguments for `predict` with an image of the default data."""
    folder = files.package_folder("easy_vqa", formats.EASY_VQA)
    image = folder / "data" / "test" / "images" / "0.png"
    return ["--image", str(image), "--question", "what color is the shape?"]


def _flat_record(record: dict) -> dict[str, tf.Tensor]:
    if "question_answer" in record:  # the catalogue's CLEVR
        answer = record["question_answer"]["answer"]
        return {
            "image": record["image"],
            "image_id": record["file_name"],
            "question": record["question_answer"]["question"],
            "answer": answer,
            "answers": answer[:, None],
            "question_type": _clevr_type(answer),
        }
    questions = record["questions"]
    return {
        "image": record["image"],
        "image_id": record["image_id"],
        "question": questions["question"],
        "answer": questions["answer"],
        "answers": questions["answers"].to_tensor(""),
        "question_type": questions["question_type"],
    }


def _problem(question: Question) -> str | None:
    if not re.search(r"\w", question.question):
        return "empty question"
    return None if question.answer else "empty answer"


def _with_validation(builder: _ImagesWithQuestions, by_image: list) -> dict[str, Iterator]:
    def part(held_back: bool) -> list:
        return [
            one
            for one in by_image
            if datasets.is_held_back(one[0], share=VALIDATION_SHARE) == held_back
        ]

    return {
        "train": builder._generate_examples(part(False)),
        "validation": builder._generate_examples(part(True)),
    }


def _clevr_builder(root: Path | None, data_dir: str | None) -> tfds.core.DatasetBuilder:
    """The catalogue's builder, which downloads, or reads `root/CLEVR_v1.0` when a root is given."""
    if root is None:
        return tfds.builder("clevr", data_dir=data_dir)
    questions = "CLEVR_v1.0/questions/CLEVR_train_questions.json"
    site = "the CLEVR page, or leave --data.root out to download it (18 GB)"
    state = datasets.fingerprint([datasets.official_file(root, questions, get_it_from=site)])
    folder = Path(data_dir or tfds.core.constants.DATA_DIR).expanduser() / "clevr_local" / state
    builder = clevr.Builder(data_dir=str(folder))
    unpacked = SimpleNamespace(download_and_extract=lambda url: str(root))
    official = builder._split_generators
    builder._split_generators = lambda dl_manager, **kwargs: official(unpacked)
    return builder


def _clevr_type(answer: tf.Tensor) -> tf.Tensor:
    yes_no = tf.strings.regex_full_match(answer, "yes|no")
    number = tf.strings.regex_full_match(answer, "[0-9]+")
    return tf.where(yes_no, "yes/no", tf.where(number, "count", "attribute"))
