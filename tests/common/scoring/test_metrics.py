"""Facts about the scores in common/scoring/metrics.py; expected values are worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.scoring.metrics import accuracy_by_group, answer_collapse, vqa_soft_accuracy, wups

ANSWERS = st.sampled_from(["dog", "cat", "a dog", "two", "2", "yes!", "Yes"])
WORDS = st.sampled_from(["chair", "stool", "table", "lamp", "red"])


def no_similarity(first: str, second: str) -> float:
    return 0.0


def furniture_similarity(first: str, second: str) -> float:
    return {"chair stool": 0.95, "chair table": 0.8, "lamp table": 0.5}.get(
        " ".join(sorted([first, second])), 0.0
    )


# VQA soft accuracy


@pytest.mark.parametrize(
    ("num_matches", "accuracy"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)]
)
def test_of_ten_humans_each_of_the_first_three_is_worth_three_tenths(num_matches, accuracy):
    # Three matches: 3 subsets hold 2 of them (2/3 each), 7 hold all (1 each): (2 + 7) / 10.
    humans = ["dog"] * num_matches + ["cat"] * (10 - num_matches)
    assert vqa_soft_accuracy("dog", humans) == pytest.approx(accuracy)


def test_both_sides_are_normalized_when_the_humans_differ():
    assert vqa_soft_accuracy("Two", ["2"] * 4 + ["two."] * 4 + ["dogs", "a cat"]) == 1.0


def test_answers_on_which_all_humans_agree_are_compared_as_written():
    assert vqa_soft_accuracy("Yes", ["yes"] * 10) == 0.0
    assert vqa_soft_accuracy("a", ["a"] * 10) == 1.0


def test_spaces_and_newlines_around_an_answer_never_count():
    assert vqa_soft_accuracy(" yes\n", ["yes", "yes "] * 5) == 1.0


def test_a_single_human_means_exact_match():
    assert vqa_soft_accuracy("circle", ["circle"]) == 1.0
    assert vqa_soft_accuracy("square", ["circle"]) == 0.0


@pytest.mark.parametrize("num_humans", [2, 3, 4])
def test_a_few_humans_who_agree_give_full_credit(num_humans):
    assert vqa_soft_accuracy("dog", ["dog"] * num_humans) == 1.0


def test_one_of_three_humans_is_worth_a_third():
    # Needed: 2 of the 2 others. Subsets: without the match 0, with it 1/2 twice.
    assert vqa_soft_accuracy("dog", ["dog", "cat", "cow"]) == pytest.approx(1 / 3)


@given(ANSWERS, st.lists(ANSWERS, min_size=1, max_size=12), st.randoms())
def test_the_order_of_the_humans_does_not_matter(predicted, humans, random):
    shuffled = random.sample(humans, len(humans))
    assert vqa_soft_accuracy(predicted, shuffled) == vqa_soft_accuracy(predicted, humans)


# WUPS


@pytest.mark.parametrize(
    ("predicted", "truth", "threshold", "score"),
    [
        (["chair"], ["stool"], 0.9, 0.95),
        (["chair"], ["table"], 0.9, 0.08),  # 0.8 is below the threshold: a tenth of it
        (["chair"], ["table"], 0.8, 0.8),  # on the threshold counts in full
        (["chair"], ["table"], 0.0, 0.8),
        (["stool", "lamp"], ["chair", "table"], 0.0, 0.475),  # 0.95 * 0.5 in both directions
        (["table"], ["table", "chair"], 0.0, 0.8),  # min(1, 1 * 0.8)
        (["table", "table"], ["chair"], 0.0, 0.64),  # min(0.8 * 0.8, 0.8)
        (["red"], ["chair"], 0.0, 0.0),
    ],
)
def test_wups_is_the_smaller_product_of_the_best_graded_similarities(
    predicted, truth, threshold, score
):
    value = wups(predicted, truth, threshold=threshold, similarity=furniture_similarity)
    assert value == pytest.approx(score)


def test_wups_of_the_same_words_in_another_order_is_one():
    assert wups(["b", "a"], ["a", "b"], threshold=0.9, similarity=no_similarity) == 1.0


def test_wups_of_empty_lists_is_one_only_if_both_are_empty():
    assert wups([], [], threshold=0.9, similarity=no_similarity) == 1.0
    assert wups([], ["chair"], threshold=0.9, similarity=no_similarity) == 0.0
    assert wups(["chair"], [], threshold=0.9, similarity=no_similarity) == 0.0


@given(st.lists(WORDS, max_size=4), st.lists(WORDS, max_size=4), st.floats(0, 1))
def test_wups_is_symmetric(predicted, truth, threshold):
    forward = wups(predicted, truth, threshold=threshold, similarity=furniture_similarity)
    backward = wups(truth, predicted, threshold=threshold, similarity=furniture_similarity)
    assert forward == backward


# Reports


def test_accuracy_by_group_is_the_mean_of_each_group_by_name():
    means = accuracy_by_group([1.0, 0.0, 0.3, 1.0], ["what", "how", "what", "how"])
    assert list(means) == ["how", "what"]
    assert means == {"how": 0.5, "what": 0.65}


def test_groups_must_be_as_many_as_scores():
    with pytest.raises(ValueError):
        accuracy_by_group([1.0, 0.0], ["what"])


def test_answer_collapse_names_the_most_frequent_answer_and_its_share():
    assert answer_collapse(["yes", "no", "yes", "yes"]) == (2, "yes", 0.75)
