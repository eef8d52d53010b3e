"""Facts about the scores of captions, against sums by hand."""

import math
import os
import shutil

import pytest

from apps.image_captioning.captioning import scoring

REFERENCES = [
    ["A dog runs on the grass.", "a brown dog running over green grass"],
    ["Two planes stand at the airport.", "some planes are parked", "two planes at an airport"],
    ["There is a river.", "a river flows through the green forest"],
]
GENERATED = ["a dog runs over grass", "two planes at the airport", "a river in a forest"]


def test_case_and_punctuation_do_not_count():
    plain = ["a dog runs on the grass", "two planes stand at the airport", "there is a river"]
    marked = [f'"{caption.upper()}" !' for caption in plain]
    scores = scoring.score(plain, REFERENCES)
    assert scoring.score(marked, REFERENCES) == scores
    expected = {"bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "exact_match", "word_f1"}
    assert {name for name, value in scores.items() if math.isclose(value, 1.0)} >= expected


def test_bleu_is_that_of_the_whole_corpus_with_the_closest_length(capsys):
    scores = scoring.score(GENERATED, REFERENCES)
    assert capsys.readouterr() == ("", "")
    # Words that match, by image: 5, 5 and 3 of 15 ("a" counts once in the third); pairs: 2, 4 and 1
    # of 12. The closest lengths are 6, 5 and 4: not longer than the captions, so no penalty.
    assert scores["bleu_1"] == pytest.approx(13 / 15, rel=1e-6)
    assert scores["bleu_2"] == pytest.approx(math.sqrt(13 / 15 * 7 / 12), rel=1e-6)
    scores = scoring.score(["a dog"], [["a dog runs on the grass"]])  # shorter: the brevity penalty
    assert scores["bleu_1"] == pytest.approx(math.exp(1 - 6 / 2), rel=1e-6)


def test_word_f1_is_that_of_the_best_reference():
    scores = scoring.score(["a dog a dog"], [["a cat", "a dog runs", "a dog"]])
    assert scores["word_f1"] == pytest.approx(2 * 2 / (4 + 2))
    # Distinct captions are counted by their words.
    scores = scoring.score(["A dog.", "a dog", "a cat", "a dog !"], [["x"]] * 4)
    assert scores["distinct_captions"] == 0.5


def test_a_caption_without_words_scores_nothing():
    scores = scoring.score(["", "..."], [["a dog"], ["a cat"]])
    distinct = scores.pop("distinct_captions")
    assert (distinct, max(scores.values())) == (0.5, pytest.approx(0.0, abs=1e-6))


@pytest.mark.data
@pytest.mark.skipif(
    "CELLSTATE_DATA" not in os.environ or shutil.which("java") is None,
    reason="CELLSTATE_DATA is not set (Java takes long to read METEOR's tables), or no java",
)
def test_meteor_knows_the_stems_of_words():
    references = [["a dog runs on the grass"]]
    assert scoring.meteor(["a dog runs on the grass"], references) == 1.0
    assert 0.8 < scoring.meteor(["a dog running on the grass"], references) < 1.0


def test_without_java_there_is_no_meteor(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert scoring.meteor(GENERATED, REFERENCES) is None


def test_copies_are_captions_with_the_words_of_one_of_training():
    training = ["A dog runs on the grass .", "planes"]
    assert scoring.copied_share(["a dog runs on the grass", "a plane"], training) == 0.5
