"""What the image adds to question answering on photographs: DAQUAR's training photos in folds.

    python -m benchmarks.visual_qa_folds --root DIR [--by block] [--seeds 3] [-- --model.hops 1]

Each fold is asked by a model and its question-only rival that were trained on the other photos; a
tenth of those chooses the epochs. The difference has the standard error of pairs of answers.
Official test photos are not used.
"""

import csv
import functools
import shutil
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from benchmarks import commands
from common.runs import cli, files

FOLDS = 5
BLOCK = 20  # photos that follow each other: often of the same room


def main(
    train_options: list[str],
    *,
    root: Path,
    by: Literal["photo", "block"] = "photo",
    seeds: int = 3,
    name: str | None = None,
    runs_dir: Path = commands.ROOT / "runs" / "folds",
) -> None:
    """Trains on each of five folds with each seed; writes results/<name>.json.

    Args:
        train_options: What stands behind "--", for `train`; the preset is photos.
        root: Folder with DAQUAR's files.
        by: Whether photos go to folds one by one, or in blocks of neighbours.
        seeds: How many: 1, 2, ...
        name: Of the result file; visual_qa_folds_<by> by default.
        runs_dir: Folder for data and runs; what is there is replaced.
    """
    cli.start_tensorflow_quietly()
    from apps.visual_qa import datasets

    folder = runs_dir / by
    shutil.rmtree(folder, ignore_errors=True)
    parts = datasets.read_daquar(root)
    photos = [photo for part in ("train", "validation") for photo in parts[part]]
    folds = assign(photos, by=by)
    rows = []
    for fold in range(FOLDS):
        write_folder(photos, folds == fold, folder / f"fold-{fold}", root)
        for seed in range(1, seeds + 1):
            rows.append(ask(folder / f"fold-{fold}", seed, train_options))
            print(f"fold {fold}, seed {seed}:", *(f"{v:.4f}" for v in rows[-1].mean(0)), flush=True)
    report = summarize(np.array(rows, object).reshape(FOLDS, seeds))
    origin = commands.origin(folder / "fold-0" / "run-1")
    command = " ".join(["python -m benchmarks.visual_qa_folds", *sys.argv[1:]])
    path = commands.RESULTS / f"{name or f'visual_qa_folds_{by}'}.json"
    files.write_json(path, {"command": command, **origin, **report})
    print(report)


def assign(photos: list, *, by: str) -> np.ndarray:
    """The fold of each photo; equal for all seeds."""
    numbers = np.array([int("".join(filter(str.isdigit, photo.path.stem))) for photo in photos])
    groups = numbers.argsort().argsort() // (1 if by == "photo" else BLOCK)
    order = np.random.default_rng(1).permutation(groups.max() + 1)
    return order[groups] % FOLDS


def write_folder(photos: list, is_test: np.ndarray, folder: Path, root: Path) -> None:
    """The data as a `folder`: test are the photos of the fold, validation a tenth of the others."""
    folder.mkdir(parents=True)
    (folder / "images").symlink_to((root / "images").resolve())
    others = np.random.default_rng(2).permutation(np.flatnonzero(~is_test))
    validation = set(others[: len(others) // 10])
    with (folder / "questions.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image", "question", "answer", "split"])
        for number, photo in enumerate(photos):
            part = "validation" if number in validation else "train"
            for question in photo.questions:
                row = [f"images/{photo.path.name}", question.question, question.answer]
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
