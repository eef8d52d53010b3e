"""Training learns to rank, and impossible options and files are refused."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from apps.answer_selection import config, train
from common.inputs.text import Vocabulary
from common.runs.errors import UserError


def test_a_tiny_training_beats_random_and_says_so_in_its_history(tiny_run, run_command, capsys):
    run = tiny_run("answer_selection")
    run_command("answer_selection", "evaluate", "--run-dir", run, "--json")
    evaluation = json.loads(capsys.readouterr().out)
    assert evaluation["metrics"]["map"] > evaluation["baselines"]["random"]["map"] + 0.1
    with (run / "history.csv").open() as file:
        epochs = list(csv.DictReader(file))
    assert {"val_map", "val_mrr", "val_p_at_1", "loss"} <= set(epochs[0])
    best = max(float(epoch["val_map"]) for epoch in epochs)
    assert best == pytest.approx(evaluation["metrics"]["map"])  # the best epoch was kept


def glove_file(path, *, dim):
    words = ("tol", "name", "zebra")
    path.write_text("".join(f"{word} {' '.join(['0.5'] * dim)}\n" for word in words))
    return path


def test_word_vectors_that_do_not_fit_are_refused_before_anything_is_written(cache_dir, tmp_path):
    path = tmp_path / "vectors.txt"
    options = dataclasses.replace(
        config.TINY,
        model=dataclasses.replace(config.TINY.model, word_vectors="glove", word_vectors_file=path),
        data=dataclasses.replace(config.TINY.data, cache_dir=cache_dir, max_questions=16),
    )
    glove_file(path, dim=6)
    with pytest.raises(UserError, match=r"vectors of 8 numbers.*has 6: set --model\.word-dim"):
        train.train(options, tmp_path / "run")
    path.write_text(glove_file(path, dim=8).read_text() + "broken 1 2 3\n")
    with pytest.raises(UserError, match=r"vectors\.txt:4: expected a word and 8 finite numbers"):
        train.train(options, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


def test_the_paper_preset_trains_on_the_vectors_of_a_file_and_keeps_them(cache_dir, tmp_path):
    paper, path = config.PAPER, glove_file(tmp_path / "vectors.txt", dim=8)
    options = dataclasses.replace(
        paper,
        model=dataclasses.replace(paper.model, word_vectors_file=path, word_dim=8),
        data=dataclasses.replace(
            paper.data, packages=("numpy",), cache_dir=cache_dir, max_questions=64
        ),
        train=dataclasses.replace(paper.train, epochs=1, candidates_per_question=4),
    )
    run = train.train(options, tmp_path / "run")
    rows = run.load_model().get_layer("embedding").get_weights()[0]
    words = Vocabulary.load(run.path / "vocab_words.txt").tokens
    np.testing.assert_array_equal(rows[words.index("zebra")], 0.5)  # of no training text
    np.testing.assert_array_equal(rows[words.index("name")], 0.5)  # not trained
    assert len(rows) == len(words) + options.data.hash_buckets
    assert len((run.path / "history.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("part", "change", "named"),
    [
        ("train", {"candidates_per_question": 1}, "candidates_per_question"),
        ("train", {"epochs": 0}, "epochs"),
        ("data", {"max_candidate_words": 0}, r"data\.max_"),
        ("data", {"max_questions": 3}, "max_questions"),
        ("model", {"dropout": 1.0}, "dropout"),
        ("model", {"units": 0}, "sizes and layers"),
        ("model", {"agreement": -1}, "agreement"),
        ("model", {"word_vectors": "glove", "word_dim": 64}, "word_dim 50, got 64"),
        ("model", {"word_vectors": "random", "train_word_vectors": False}, "random are trained"),
        ("model", {"word_vectors": "random", "word_vectors_file": Path("v.txt")}, "from no file"),
    ],
)
def test_impossible_options_are_refused(part, change, named):
    with pytest.raises(ValueError, match=named):
        dataclasses.replace(getattr(config.SMALL, part), **change)
