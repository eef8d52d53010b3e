"""Protocols, rivals and the table of questions, on a small folder of one's own."""

import csv

import pytest

from apps.answer_selection import evaluate
from common.runs.errors import UserError

COLOURS = ["red", "green", "blue", "black", "white", "brown"]


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("question", "candidate", "label"), *rows])


def rows_of(thing, *, right=1):
    """A question with six candidates; the right ones have its word."""
    return [
        (f"what colour is the {thing}?", f"the {thing if place < right else 'sky'} is {colour}",
         int(place < right))
        for place, colour in enumerate(COLOURS)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty questions; three of validation: usual, without right, without wrong candidates."""
    root = tmp_path_factory.mktemp("own")
    write_csv(root / "train.csv", [row for n in range(40) for row in rows_of(f"thing{n}")])
    special = rows_of("usual") + rows_of("none", right=0) + rows_of("all", right=6)
    write_csv(root / "validation.csv", special)
    write_csv(root / "test.csv", rows_of("none", right=0))
    return root


@pytest.fixture(scope="module")
def run(changed_run, folder, cache_dir):
    """The tiny run on these questions."""
    own = {"name": "folder", "root": folder, "max_questions": None, "cache_dir": cache_dir}
    return changed_run(data=own)


@pytest.fixture(scope="module")
def evaluated(run):
    """By protocol; the files in the run are those of "raw", the last."""
    before = (run / "model.keras").read_bytes()
    results = {
        protocol: evaluate.evaluate(run, protocol=protocol)
        for protocol in ("clean", "filtered", "raw")
    }
    assert (run / "model.keras").read_bytes() == before, "evaluation leaves the weights alone"
    return results


@pytest.mark.parametrize(
    ("protocol", "num", "least"), [("clean", 1, 0), ("filtered", 2, 1 / 2), ("raw", 3, 1 / 3)]
)
def test_a_protocol_says_which_questions_count(evaluated, protocol, num, least):
    evaluation = evaluated[protocol]
    assert evaluation.num_examples == num
    # A question without wrong candidates scores 1 whatever the model does, one without right 0.
    best = (1 + least * num) / num
    assert least <= evaluation.metrics["map"] <= best
    assert "1 have no right candidate, 1 no wrong one" in evaluation.notes[0]


def test_word_overlap_finds_the_candidate_with_the_word(evaluated):
    assert evaluated["clean"].baselines["word_overlap"]["mrr"] == 1.0


def test_a_part_without_questions_that_count_is_a_users_error(run):
    with pytest.raises(UserError, match=r"protocol clean counts, found none of 1"):
        evaluate.evaluate(run, "test")


def test_the_table_of_questions_gives_the_ranks_of_each(evaluated, run):
    with (run / "questions-validation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["right"], row["wrong"]) for row in rows if row["right"] == "6"] == [("6", "0")]
    by_right = {row["right"]: row for row in rows}
    assert by_right["6"]["model"] == "1 2 3 4 5 6"
    assert by_right["0"]["bm25"] == ""
    assert by_right["1"]["word_overlap"] == "1"


def test_the_interval_holds_the_difference(evaluated):
    evaluation = evaluated["raw"]
    assert set(evaluation.details) == {f"MAP above {name}" for name in evaluation.baselines}
    for title, values in evaluation.details.items():
        rival = evaluation.baselines[title.removeprefix("MAP above ")]
        difference = evaluation.metrics["map"] - rival["map"]
        assert values["difference"] == pytest.approx(difference, abs=1e-6)
        assert values["95 % from"] <= difference <= values["to"]


def test_first_ranks_give_the_reciprocal_rank(evaluated, run):
    ranks = evaluate.read_ranks(run, "validation")
    evaluation = evaluated["filtered"]  # the questions that have a right candidate
    for name, metrics in (("model", evaluation.metrics), ("bm25", evaluation.baselines["bm25"])):
        mean = sum(1 / row[name] for row in ranks.values()) / len(ranks)
        assert mean == pytest.approx(metrics["mrr"], abs=1e-6)
