"""Questions from captions, and folds that no photo crosses."""

import csv

import numpy as np
import pytest
from PIL import Image

from benchmarks import visual_qa_folds
from benchmarks.caption_questions import Asked, ask


def test_captions_become_questions():
    captions = (
        "A brown dog is running through the deep snow .",
        "The brown dog with a red ball runs across the field .",
        "A grey dog sleeps on the snow .",
    )
    assert set(ask(captions)) == {
        Asked("what color is the dog?", "brown", "color"),  # two of three say so
        Asked("what color is the ball?", "red", "color"),
        Asked("what is the dog doing?", "running", "action"),
        Asked("where is the dog?", "snow", "place"),
    }


def test_where_people_differ_evenly_nothing_is_asked():
    assert ask(["a black dog", "a white dog"]) == []


@pytest.mark.parametrize("by", ["photo", "block"])
def test_each_photo_is_test_in_one_fold(tmp_path, by):
    for number in range(1, 121):
        Image.new("RGB", (8, 8)).save(tmp_path / f"image{number}.png")
    asked = [Asked("what?", "this", "")]
    photos = [
        visual_qa_folds.Photo(tmp_path / f"image{number}.png", asked) for number in range(1, 121)
    ]
    folds = visual_qa_folds.assign(len(photos), by=by)
    parts = []
    for fold in range(visual_qa_folds.FOLDS):
        folder = tmp_path / str(fold)
        folder.mkdir()
        visual_qa_folds.write_folder(photos, folds == fold, folder)
        with (folder / "questions.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert all((folder / row["image"]).exists() for row in rows)
        parts.append([row["split"] for row in rows])
    columns = np.array(parts)
    assert columns.shape == (5, 120)
    assert ((columns == "test").sum(0) == 1).all()
    assert set(columns.ravel()) == {"train", "validation", "test"}
    if by == "block":
        in_blocks = folds.reshape(-1, visual_qa_folds.BLOCK)
        assert (in_blocks == in_blocks[:, :1]).all()
