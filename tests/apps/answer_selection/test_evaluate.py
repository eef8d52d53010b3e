"""The rivals and the table of questions, on a small folder of one's own."""

import csv

import pytest

from apps.answer_selection import evaluate


@pytest.fixture(scope="module")
def evaluation(own_run):
    before = (own_run / "model.keras").read_bytes()
    evaluation = evaluate.evaluate(own_run, protocol="raw")
    assert (own_run / "model.keras").read_bytes() == before, "evaluation leaves the weights alone"
    return evaluation


@pytest.fixture(scope="module")
def table(evaluation, own_run):
    """The lines of the table of questions, by the number of right candidates."""
    with (own_run / "questions-validation.csv").open() as file:
        return {row["right"]: row for row in csv.DictReader(file)}


def test_all_questions_count_in_the_protocol_raw(evaluation):
    assert evaluation.num_examples == 3
    assert "1 have no right candidate, 1 no wrong one" in evaluation.notes[0]


def test_the_network_without_agreement_is_among_the_rivals(evaluation):
    names = ["network", "random", "word_overlap", "idf_overlap", "bm25"]
    assert list(evaluation.baselines) == names
    assert list(evaluation.details) == [f"MAP above {name}" for name in names]


def test_the_table_of_questions_gives_the_ranks_of_each(evaluation, table):
    assert table["6"]["wrong"] == "0" and table["6"]["model"] == "1 2 3 4 5 6"
    assert table["0"]["bm25"] == ""
    assert table["1"]["word_overlap"] == "1"  # only the right candidate has the word
    # A question without wrong candidates scores 1 whatever the model does, one without right 0.
    mrr = (1 / int(table["1"]["model"]) + 1) / 3
    assert evaluation.metrics["mrr"] == pytest.approx(mrr, abs=1e-6)


def test_the_interval_holds_the_difference(evaluation):
    for title, values in evaluation.details.items():
        rival = evaluation.baselines[title.removeprefix("MAP above ")]
        difference = evaluation.metrics["map"] - rival["map"]
        assert values["difference"] == pytest.approx(difference, abs=1e-6)
        assert values["95 % from"] <= difference <= values["to"]
