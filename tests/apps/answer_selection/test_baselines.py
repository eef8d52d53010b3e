"""Scorers without a network."""

import math

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.answer_selection.ranking import baselines
from apps.answer_selection.ranking.baselines import WordStatistics

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
    assert vars(WordStatistics([*TEXTS, TEXTS[0]])) == vars(WordStatistics(TEXTS))


def test_word_overlap_counts_distinct_words_of_the_question():
    scores = baselines.word_overlap("the the cat sat", ["the cat", "cat cat cat", "", "dogs"])
    assert scores.tolist() == [2.0, 1.0, 0.0, 0.0]


def test_idf_overlap_sums_the_idf_of_shared_words():
    scores = WordStatistics(TEXTS).idf_overlap("cat mat", ["cat", "mat", "mat cat mat"])
    cat, mat = math.log1p(1.5 / 3.5), math.log1p(3.5 / 1.5)  # in three and one of four texts
    assert scores.tolist() == pytest.approx([cat, mat, cat + mat])


@given(
    st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=9), min_size=2, max_size=9)
)
def test_bm25_is_that_of_bm25s_where_training_texts_and_candidates_are_the_same(texts):
    texts = [list(words) for words in dict.fromkeys(map(tuple, texts))]
    index = bm25s.BM25(k1=baselines.K1, b=baselines.B, method="lucene")
    index.index(texts, show_progress=False)
    joined = [" ".join(words) for words in texts]
    expected = index.get_scores_from_ids(index.get_tokens_ids(["a", "b", "b", "c"]))
    scores = WordStatistics(joined).bm25("a b b c", joined)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", [TEXTS, []])
def test_every_baseline_gives_a_finite_score_for_each_candidate(training):
    candidates = [*TEXTS, TEXTS[0], "", "?!", "ünknown"]
    for name, score in baselines.fit(training, seed=1).items():
        scores = score("where is the cat ?", candidates)
        assert scores.shape == (8,) and np.isfinite(scores).all()
        assert name == "random" or scores[0] == scores[4] > 0


def test_random_scores_depend_on_seed_and_question_alone():
    score = baselines.make_random(1)
    first = score("who ?", TEXTS)
    assert (score("what ?", TEXTS) != first).any()
    np.testing.assert_array_equal(score("who ?", TEXTS), first)
    assert (baselines.make_random(2)("who ?", TEXTS) != first).any()
