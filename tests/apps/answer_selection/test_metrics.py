"""Scores of rankings, against trec_eval and formulas written out here."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.answer_selection.ranking import metrics
from apps.answer_selection.ranking.metrics import Ranked

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
    scores = result(candidates)
    ranks = scores.right_ranks
    assert scores.reciprocal_rank == pytest.approx(1 / ranks[0] if ranks else 0.0)
    assert scores.precision_at_1 == float(bool(ranks) and ranks[0] == 1)
    precisions = [count / place for count, place in enumerate(ranks, start=1)]
    assert scores.average_precision == pytest.approx(np.mean(precisions) if ranks else 0.0)


def test_ties_go_to_the_higher_id_as_a_string():
    assert metrics.rank(["9", "10", "b", "a"], [1.0, 1.0, 1.0, 2.0]) == [3, 2, 0, 1]
    assert result([("a", 1, 0.5), ("b", 0, 0.5)]).right_ranks == (2,)
    assert result([("b", 1, 0.5), ("a", 0, 0.5)]).right_ranks == (1,)


def test_scores_that_differ_beyond_single_precision_tie():
    assert result([("a", 1, 1.0 + 1e-12), ("b", 0, 1.0)]).right_ranks == (2,)


def test_a_constant_scorer_scores_as_random_when_ids_are_hashes():
    from apps.answer_selection.corpora import records
    from apps.answer_selection.corpora.records import Candidate, Question

    generator = np.random.default_rng(0)
    constant, random = [], []
    for number in range(600):
        # As in TREC-QA files: the right ones first.
        texts = [Candidate(f"sentence {place} of {number}", int(place < 2)) for place in range(8)]
        record = records.make_record(Question(str(number), "who?", texts))
        row = (str(number), record["candidate_ids"], record["labels"])
        constant.append(Ranked(*row, [0.0] * 8))
        random.append(Ranked(*row, generator.random(8).tolist()))
    values = [
        metrics.summarize(metrics.score_questions(rows), "raw").metrics["map"]
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


def test_a_question_without_a_right_candidate_counts_as_zero_in_raw():
    results = [
        result([("a", 1, 1.0), ("b", 0, 0.0)], "both"),
        result([("a", 0, 1.0), ("b", 0, 0.0)], "no right"),
    ]
    summary = metrics.summarize(results, "raw")
    assert summary.metrics == {"map": 0.5, "mrr": 0.5, "p_at_1": 0.5}
    assert (summary.num_questions, summary.num_without_right, summary.num_without_wrong) == (
        2,
        1,
        0,
    )


def test_no_question_that_counts_is_an_error():
    with pytest.raises(ValueError, match="none of 1"):
        metrics.summarize([result([("a", 0, 1.0)])], "clean")


@pytest.mark.parametrize("score", [np.nan, np.inf, 1e300])
def test_scores_without_a_place_in_the_ranking_are_refused(score):
    with pytest.raises(ValueError, match="finite"):
        result([("a", 1, score), ("b", 0, 0.0)])


def test_two_candidates_with_one_id_are_refused():
    with pytest.raises(ValueError, match="an id of its own"):
        result([("a", 1, 1.0), ("a", 0, 0.0)])


def results_of(precisions):
    return [
        metrics.QuestionResult(str(number), 1, 1, (1,), value, value, 0.0)
        for number, value in enumerate(precisions)
    ]


def test_the_bootstrap_interval_is_that_of_the_mean_of_paired_differences():
    generator = np.random.default_rng(1)
    base = generator.random(400)
    better = base + generator.normal(0.05, 0.1, 400)
    interval = metrics.bootstrap_difference(results_of(better), results_of(base), "clean")
    assert interval.map_difference == pytest.approx(np.mean(better - base))
    # Of 400 differences with deviation 0.1, the mean has a standard error of 0.005.
    half = 1.96 * np.std(better - base) / 20
    assert interval.low == pytest.approx(interval.map_difference - half, abs=0.0005)
    assert interval.high == pytest.approx(interval.map_difference + half, abs=0.0005)


def test_the_bootstrap_of_a_scorer_with_itself_is_zero():
    same = results_of(np.random.default_rng(2).random(50))
    assert metrics.bootstrap_difference(same, same, "raw")[:3] == (0.0, 0.0, 0.0)


def test_the_bootstrap_refuses_results_of_other_questions():
    results = results_of([0.1, 0.2])
    with pytest.raises(ValueError, match="same questions"):
        metrics.bootstrap_difference(results, results[::-1], "raw")
