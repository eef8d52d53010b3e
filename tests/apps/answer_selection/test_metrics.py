"""Metrics of rankings, against formulas written out here; trec_eval itself gives the values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.answer_selection import datasets
from apps.answer_selection.corpora.formats import Candidate, Question
from apps.answer_selection.ranking import metrics
from apps.answer_selection.ranking.metrics import QuestionResult, Ranked
from common.inputs.datasets import BrokenRows
from common.runs.errors import UserError

# Few distinct scores, so that ties are common; some differ only beyond single precision.
SCORES = st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-12, 0.5, -2.0, 3.25])
CANDIDATES = st.lists(
    st.tuples(st.text("abcdef01", min_size=1, max_size=4), st.integers(0, 1), SCORES),
    min_size=1,
    max_size=12,
    unique_by=lambda row: row[0],
)


def result(candidates, question_id="q"):
    return metrics.score_questions([Ranked(question_id, *zip(*candidates, strict=True))])[0]


@given(CANDIDATES)
def test_ranks_give_the_values_of_trec_eval(candidates):
    row = result(candidates)
    ranks = row.right_ranks
    precisions = [count / place for count, place in enumerate(ranks, start=1)]
    assert row.metrics == pytest.approx(
        {
            "map": np.mean(precisions) if ranks else 0.0,
            "mrr": 1 / ranks[0] if ranks else 0.0,
            "p_at_1": float(bool(ranks) and ranks[0] == 1),
        }
    )


def test_ties_in_single_precision_go_to_the_higher_id_as_a_string():
    assert result([("a", 1, 0.5), ("b", 0, 0.5)]).right_ranks == (2,)
    assert result([("9", 1, 0.5), ("10", 0, 0.5)]).right_ranks == (1,)
    assert result([("a", 1, 1.0 + 1e-12), ("b", 0, 1.0)]).right_ranks == (2,)


def test_a_constant_scorer_scores_as_random_when_ids_are_hashes():
    generator = np.random.default_rng(0)
    constant, random = [], []
    for number in range(600):
        # As in TREC-QA files: the right ones first.
        texts = [Candidate(f"sentence {place} of {number}", int(place < 2)) for place in range(8)]
        question = Question(str(number), "who?", texts)
        [(_, record)] = datasets.make_records(question, BrokenRows("texts"))
        row = (str(number), record["candidate_ids"], record["labels"])
        constant.append(Ranked(*row, [0.0] * 8))
        random.append(Ranked(*row, generator.random(8).tolist()))
    values = [
        metrics.summarize(metrics.score_questions(rows), "raw")["map"]
        for rows in (constant, random)
    ]
    assert values[0] == pytest.approx(values[1], abs=0.04)  # right ones first would give 1.0
    assert values[0] < 0.5


def test_protocols_count_the_questions_that_they_should():
    results = [
        result([("a", 1, 1.0), ("b", 0, 0.0)], "both"),
        result([("a", 0, 1.0), ("b", 0, 0.0)], "no right"),
        result([("a", 1, 1.0), ("b", 1, 0.0)], "no wrong"),
        result([("a", 1, 1.0)], "one candidate"),
    ]
    counted = {
        protocol: [question.question_id for question in metrics.counted(results, protocol)]
        for protocol in ("raw", "clean", "filtered")
    }
    assert counted["raw"] == ["both", "no right", "no wrong", "one candidate"]
    assert counted["clean"] == ["both"]
    assert counted["filtered"] == ["both", "no wrong", "one candidate"]
    # A question without a right candidate counts as zero in raw.
    assert metrics.summarize(results[:2], "raw") == {"map": 0.5, "mrr": 0.5, "p_at_1": 0.5}
    with pytest.raises(UserError, match="protocol clean counts, found none of 3"):
        metrics.summarize(results[1:], "clean")


def results_of(precisions):
    return [
        QuestionResult(str(number), 1, 1, (1,), {"map": value})
        for number, value in enumerate(precisions)
    ]


def test_the_bootstrap_interval_is_that_of_the_mean_of_paired_differences():
    generator = np.random.default_rng(1)
    base = generator.random(400)
    better = base + generator.normal(0.05, 0.1, 400)
    mean, low, high = metrics.map_difference(results_of(better), results_of(base), "clean").values()
    assert mean == pytest.approx(np.mean(better - base))
    # Of 400 differences with deviation 0.1, the mean has a standard error of 0.005.
    half = 1.96 * np.std(better - base) / 20
    assert low == pytest.approx(mean - half, abs=0.0005)
    assert high == pytest.approx(mean + half, abs=0.0005)
    same = metrics.map_difference(results_of(base), results_of(base), "raw")
    assert list(same.values()) == [0.0, 0.0, 0.0]
