"""What the image adds to question answering on photographs, over five folds of the photos.

    python -m benchmarks.visual_qa_folds --root DIR [--data flickr8k] [--by block] [-- --model.X Y]

Each fold is asked by a model and its question-only rival that were trained on the other photos; a
tenth of those chooses the epochs. The difference has the standard error of pairs of answers.

daquar: training photos and questions of DAQUAR. flickr8k: its photos for training and development,
with questions made from their captions (benchmarks/caption_questions.py).
"""

import csv
import functools
import sys
import tempfile
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import tyro

from benchmarks import caption_questions, commands
from benchmarks.caption_questions import Asked
from common.runs import cli, files

FOLDS = 5
BLOCK = 20  # photos that follow each other: often of the same room


class Photo(NamedTuple):
    """A photo with its questions and their answers."""

    path: Path
    questions: list[Asked]


def main(
    train_options: list[str],
    *,
    root: Path,
    data: Literal["daquar", "flickr8k"] = "daquar",
    by: Literal["photo", "block"] = "photo",
    seeds: int = 3,
    name: str | None = None,
) -> None:
    """Trains on each of five folds with each seed; writes results/<name>.json.

    Args:
        train_options: What stands behind "--", for `train`; the preset is photos.
        root: Folder with the files of the data set as published.
        data: Which.
        by: Whether photos go to folds one by one, or in blocks of neighbours.
        seeds: How many: 1, 2, ...
        name: Of the result file; visual_qa_folds_<data>_<by> by default.
    """
    cli.start_tensorflow_quietly()
    photos = read(data, root)
    folds = assign(len(photos), by=by)
    rows, origin = [], {}
    for fold in range(FOLDS):
        with tempfile.TemporaryDirectory() as folder:
            write_folder(photos, folds == fold, Path(folder))
            for seed in range(1, seeds + 1):
                rows.append(ask(Path(folder), seed, train_options))
                accuracies = (f"{accuracy:.4f}" for accuracy in rows[-1].mean(0))
                print(f"fold {fold}, seed {seed}:", *accuracies, flush=True)
            origin = commands.origin(Path(folder) / "run-1")
    report = summarize(np.array(rows, object).reshape(FOLDS, seeds))
    command = " ".join(["python -m benchmarks.visual_qa_folds", *sys.argv[1:]])
    path = commands.RESULTS / f"{name or f'visual_qa_folds_{data}_{by}'}.json"
    files.write_json(path, {"command": command, **origin, **report})
    print(report)


def read(data: str, root: Path) -> list[Photo]:
    """The photos with questions, neighbours beside each other."""
    from apps.image_captioning.corpora import formats
    from apps.visual_qa import datasets

    if data == "daquar":
        parts = datasets.read_daquar(root)
        photos = [
            Photo(photo.path, [Asked(row.question, row.answer, "") for row in photo.questions])
            for photo in (*parts["train"], *parts["validation"])
        ]
    else:
        parts = formats.read_flickr8k(root / "Flickr8k_text" / "Flickr8k.token.txt")
        photos = [
            Photo(photo.path, caption_questions.ask(row.cells["caption"] for row in photo.rows))
            for photo in (*parts["train"], *parts["validation"])
        ]
    photos.sort(key=lambda photo: (len(photo.path.stem), photo.path.stem))  # image9 before image10
    return [photo for photo in photos if photo.questions]


def assign(num_photos: int, *, by: str) -> np.ndarray:
    """The fold of each photo; equal for all seeds."""
    groups = np.arange(num_photos) // (1 if by == "photo" else BLOCK)
    return np.random.default_rng(1).permutation(groups.max() + 1)[groups] % FOLDS


def write_folder(photos: list[Photo], is_test: np.ndarray, folder: Path) -> None:
    """The data as a `folder`: test are the photos of the fold, validation a tenth of the others."""
    (folder / "images").symlink_to(photos[0].path.parent.resolve())
    others = np.random.default_rng(2).permutation(np.flatnonzero(~is_test))
    validation = set(others[: len(others) // 10])
    with (folder / "questions.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image", "question", "answer", "split"])
        for number, photo in enumerate(photos):
            part = "validation" if number in validation else "train"
            for asked in photo.questions:
                row = [f"images/{photo.path.name}", asked.question, asked.answer]
                table.writerow([*row, "test" if is_test[number] else part])


def ask(folder: Path, seed: int, train_options: list[str]) -> np.ndarray:
    """Whether model, rival and model with another image are right: bool (questions, 3)."""
    from apps.visual_qa import evaluate
    from apps.visual_qa.config import APP, Config
    from common.runs import directory

    run = folder / f"run-{seed}"
    data = ["--data.name", "folder", "--data.root", folder, "--data.cache-dir", folder / "cache"]
    options = [*data, "--train.seed", seed, *train_options]
    commands.run(APP, "train", "--run-dir", run, "--preset", "photos", *options)
    opened, config = directory.open_run(run, app=APP, config_type=Config)
    answered = evaluate.answer_questions(opened, config, "test")
    names = ("model", "question_only", "shuffled_images")
    return np.array([[row.choices[name] == row.answers[0] for name in names] for row in answered])


def summarize(rows: np.ndarray) -> dict:
    """Accuracies over all questions by seed, and what the image adds: rows (folds, seeds)."""
    by_seed = [np.concatenate(list(column)) for column in rows.T]
    differences = [right[:, 0].astype(float) - right[:, 1] for right in by_seed]
    paired = np.mean(differences, axis=0)
    return {
        "questions": len(paired),
        **{
            name: commands.spread([float(right[:, place].mean()) for right in by_seed])
            for place, name in enumerate(("model", "question_only", "shuffled_images"))
        },
        "difference": commands.spread([float(values.mean()) for values in differences]),
        "standard_error": round(float(paired.std() / np.sqrt(len(paired))), 5),
    }


if __name__ == "__main__":
    # What stands after "--" is for `train`.
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    tyro.cli(functools.partial(main, sys.argv[cut + 1 :]), args=sys.argv[1:cut])
