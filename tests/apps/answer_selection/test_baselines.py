"""Scorers without a network."""

import math

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.answer_selection.ranking import baselines

TEXTS = [
    "the cat sat on the mat",
    "the dog sat on the cat",
    "a bird in the hand",
    "two birds in the bush , one cat",
]


def test_words_are_lower_case_and_split_identifiers():
    assert baselines.words("The n_jobs of `NuSVR`, don't: <num> Straße!") == [
        *("the", "n", "jobs", "of", "nusvr", "don't", "num", "straße"),
    ]


def test_a_text_that_comes_twice_counts_once():
    assert baselines.count_words([*TEXTS, TEXTS[0]]) == baselines.count_words(TEXTS)


def test_word_overlap_counts_distinct_words_of_the_question():
    scores = baselines.word_overlap("the the cat sat", ["the cat", "cat cat cat", "", "dogs"])
    assert scores.tolist() == [2.0, 1.0, 0.0, 0.0]


def test_idf_overlap_sums_the_idf_of_shared_words():
    statistics = baselines.count_words(TEXTS)
    score = baselines.make_idf_overlap(statistics)
    # "cat" is in three of four texts, "mat" in one.
    assert score("cat mat", ["cat", "mat", "mat cat mat"]).tolist() == pytest.approx(
        [
            math.log1p(1.5 / 3.5),
            math.log1p(3.5 / 1.5),
            math.log1p(1.5 / 3.5) + math.log1p(3.5 / 1.5),
        ]
    )


@given(
    st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=9), min_size=2, max_size=9)
)
def test_bm25_is_that_of_bm25s_where_training_texts_and_candidates_are_the_same(texts):
    texts = [list(one) for one in {tuple(one) for one in texts}]
    index = bm25s.BM25(k1=baselines.K1, b=baselines.B, method="lucene")
    index.index(texts, show_progress=False)
    known = [word for word in ["a", "b", "b", "c"] if any(word in one for one in texts)]
    joined = [" ".join(one) for one in texts]
    score = baselines.make_bm25(baselines.count_words(joined))
    expected = index.get_scores(known) if known else np.zeros(len(texts))
    np.testing.assert_allclose(score("a b b c", joined), expected, rtol=1e-5, atol=1e-6)


def test_bm25_knows_words_only_from_training_candidates():
    statistics = baselines.count_words(["cat", "dog"])
    before = statistics.num_texts_with.copy()
    baselines.make_bm25(statistics)("zebra cat", ["zebra cat", "cat"])
    assert statistics.num_texts_with == before


@pytest.mark.parametrize("name", ["random", "word_overlap", "idf_overlap", "bm25"])
def test_every_baseline_gives_a_finite_score_for_each_candidate(name):
    score = baselines.fit(TEXTS, seed=1)[name]
    found = score("where is the cat ?", [*TEXTS, "", "?!", "ünknown"])
    assert found.shape == (7,)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", ["word_overlap", "idf_overlap", "bm25"])
def test_equal_candidates_score_the_same_and_untrained_baselines_work(name):
    for training in (TEXTS, []):
        first, second = baselines.fit(training, seed=1)[name]("the cat", ["the cat", "the cat"])
        assert first == second > 0


def test_random_scores_depend_on_seed_and_question_alone():
    score = baselines.make_random(1)
    first = score("who ?", TEXTS)
    score("what ?", TEXTS)
    np.testing.assert_array_equal(score("who ?", TEXTS), first)
    assert (baselines.make_random(2)("who ?", TEXTS) != first).any()
    assert (score("what ?", TEXTS) != first).any()
