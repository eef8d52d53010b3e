"""Facts about the answer normalisation of the VQA v2 evaluation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.scoring.vqa_answers import normalize_vqa_answer


@pytest.mark.parametrize(
    ("answer", "normalized"),
    [
        ("A dog.", "dog"),
        ("the red and a blue", "red and blue"),
        ("two", "2"),
        ("Ten", "10"),
        ("none", "0"),
        ("eleven", "eleven"),
        ("yes!", "yes"),
        (" on\tthe\ntable ", "on table"),
    ],
)
def test_an_answer_loses_articles_case_and_end_marks_and_number_words_become_digits(
    answer, normalized
):
    assert normalize_vqa_answer(answer) == normalized


@pytest.mark.parametrize(
    ("answer", "normalized"),
    [
        ("1,000", "1000"),
        ("red,blue", "red blue"),
        ("red, blue", "red blue"),
        ("t-shirt", "t shirt"),
        ("- no", "no"),
        ("girl's", "girl's"),
        ("2:50 pm", "2:50 pm"),
    ],
)
def test_a_mark_between_letters_becomes_a_space_and_one_beside_a_space_vanishes(answer, normalized):
    assert normalize_vqa_answer(answer) == normalized


@pytest.mark.parametrize(
    ("answer", "normalized"), [("2.5", "2.5"), (".5", ".5"), ("3.", "3"), ("p.m.", "pm")]
)
def test_a_period_stays_only_before_a_digit(answer, normalized):
    assert normalize_vqa_answer(answer) == normalized


@pytest.mark.parametrize(
    ("answer", "normalized"),
    [
        ("dont", "don't"),
        ("Wheres", "where's"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("y'allll", "y'all'll"),
        ("'ows'at", "'ow's'at"),
        ("oclock", "o'clock"),
    ],
)
def test_a_contraction_gets_the_one_apostrophe_it_lacks(answer, normalized):
    assert normalize_vqa_answer(answer) == normalized


@pytest.mark.parametrize("word", ["its", "were", "well", "lets", "shes", "couldntve"])
def test_a_word_outside_the_official_contractions_stays(word):
    assert normalize_vqa_answer(word) == word


@pytest.mark.parametrize(
    ("answer", "normalized"),
    [
        ("Im", "im"),  # the official key "Im" never meets a lower-case word
        ("somebody'd", "somebodyd"),  # the wrong way round in the official table
        ("1,000 t-shirts", "1000 tshirts"),  # a comma in a number glues all other marks
        ("." * 33, "."),  # a flag stands where the number of replacements belongs
        ("a", ""),
    ],
)
def test_the_quirks_of_the_official_code_are_kept(answer, normalized):
    assert normalize_vqa_answer(answer) == normalized


@given(st.text(alphabet="aonethwd'.,-/? 12", max_size=20))
def test_normalizing_twice_changes_nothing(answer):
    once = normalize_vqa_answer(answer)
    assert normalize_vqa_answer(once) == once
