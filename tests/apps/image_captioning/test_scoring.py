"""Facts about the scores of captions, against sums by hand and the official CIDEr-D."""

import math
import os
import shutil
import statistics

import numpy as np
import pytest

from apps.image_captioning.captioning import scoring

REFERENCES = [
    ["A dog runs on the grass.", "a brown dog running over green grass"],
    ["Two planes stand at the airport.", "some planes are parked", "two planes at an airport"],
    ["There is a river.", "a river flows through the green forest"],
]
GENERATED = ["a dog runs over grass", "two planes at the airport", "a river in a forest"]


def test_the_references_themselves_score_full_marks():
    scores = scoring.score([of_image[-1] for of_image in REFERENCES], REFERENCES)
    expected = {"bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "exact_match", "word_f1"}
    assert {name for name, value in scores.items() if math.isclose(value, 1.0)} >= expected


def test_case_and_punctuation_do_not_count():
    plain = ["a dog runs on the grass", "two planes stand at the airport", "there is a river"]
    marked = [f'"{caption.upper()}" !' for caption in plain]
    assert scoring.score(marked, REFERENCES) == scoring.score(plain, REFERENCES)
    assert scoring.score(plain, REFERENCES)["exact_match"] == 1.0


def test_bleu_is_that_of_the_whole_corpus_with_the_closest_length():
    scores = scoring.score(GENERATED, REFERENCES)
    # Words that match, by image: 5, 5 and 3 of 15 ("a" counts once in the third); pairs: 2, 4 and 1
    # of 12. The closest lengths are 6, 5 and 4: not longer than the captions, so no penalty.
    assert scores["bleu_1"] == pytest.approx(13 / 15, rel=1e-6)
    assert scores["bleu_2"] == pytest.approx(math.sqrt(13 / 15 * 7 / 12), rel=1e-6)


def test_captions_that_are_too_short_pay_the_brevity_penalty():
    scores = scoring.score(["a dog"], [["a dog runs on the grass"]])
    assert scores["bleu_1"] == pytest.approx(math.exp(1 - 6 / 2), rel=1e-6)


def test_rouge_l_is_the_f_measure_of_the_longest_common_subsequence():
    scores = scoring.score(["a dog on grass"], [["a dog runs on the grass"]])
    precision, recall = 4 / 4, 4 / 6
    expected = (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)
    assert scores["rouge_l"] == pytest.approx(expected)


def test_word_f1_is_that_of_the_best_reference():
    scores = scoring.score(["a dog a dog"], [["a cat", "a dog runs", "a dog"]])
    assert scores["word_f1"] == pytest.approx(2 * 2 / (4 + 2))


def test_distinct_captions_are_counted_by_their_words():
    scores = scoring.score(["A dog.", "a dog", "a cat", "a dog !"], [["x"]] * 4)
    assert scores["distinct_captions"] == 0.5


def test_a_caption_without_words_scores_nothing():
    scores = scoring.score(["", "..."], [["a dog"], ["a cat"]])
    distinct = scores.pop("distinct_captions")
    assert (distinct, max(scores.values())) == (0.5, pytest.approx(0.0, abs=1e-6))


def test_scoring_prints_nothing(capsys):
    scoring.score(GENERATED, REFERENCES)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("generated", "references"), [([], []), (["a"], [[]]), (["a"], [["a"], ["b"]])]
)
def test_captions_without_their_references_are_refused(generated, references):
    with pytest.raises(ValueError, match="references"):
        scoring.score(generated, references)


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


# CIDEr-D with fixed document frequencies

WORDS = [*"abcdefgh"]


def test_against_the_references_themselves_it_is_the_official_score():
    random = np.random.default_rng(0)

    def caption():
        return " ".join(random.choice(WORDS, size=random.integers(1, 12)))

    references = [[caption() for _ in range(random.integers(1, 5))] for _ in range(40)]
    generated = [random.choice([caption(), of_image[0]]) for of_image in references]
    cider = scoring.Cider(references)
    mean = statistics.fmean(
        cider.score(caption, of_image)
        for caption, of_image in zip(generated, references, strict=True)
    )
    assert mean == pytest.approx(scoring.score(generated, references)["cider"], rel=1e-9)


def test_equal_captions_have_the_highest_similarity():
    cider = scoring.Cider(REFERENCES)
    caption = "two planes at an airport"
    assert cider.similarity(caption, caption) == pytest.approx(10.0)
    assert cider.similarity(caption, "two planes at the airport") < 10.0
    assert cider.similarity(caption, "") == cider.similarity("", "") == 0.0


def test_rare_words_count_more():
    cider = scoring.Cider([["a dog"], ["a cat"], ["a cat"], ["a cow"]])
    assert cider.similarity("the dog", "one dog") > cider.similarity("the cat", "one cat") > 0
    assert cider.similarity("a", "a") == 0  # every image has it


def test_no_documents_are_refused():
    with pytest.raises(ValueError, match="at least one image"):
        scoring.Cider([])


# Consensus

NEIGHBOURS = [
    ["many planes at an airport", "planes parked at an airport"],
    ["a red car in the rain", "a car"],
    ["planes at an airport"],
]


def test_the_caption_that_agrees_with_most_neighbours_wins():
    cider = scoring.Cider([*NEIGHBOURS, ["a dog"]])
    scores = scoring.consensus(["a red car", "planes at an airport", "a dog"], NEIGHBOURS, cider)
    assert np.argsort(scores).tolist() == [2, 0, 1]
    each = [cider.score("a red car", captions) for captions in NEIGHBOURS]
    assert scores[:1] == pytest.approx([sum(each) / 3])


def test_images_that_are_more_alike_count_more():
    cider = scoring.Cider([*NEIGHBOURS, ["a dog"]])
    scores = scoring.consensus(
        ["a red car", "planes at an airport"], NEIGHBOURS, cider, weights=[0.1, 0.8, 0.1]
    )
    assert scores[0] > scores[1]
    each = [cider.score("a red car", captions) for captions in NEIGHBOURS]
    assert scores[0] == pytest.approx(0.1 * each[0] + 0.8 * each[1] + 0.1 * each[2])


def test_an_image_without_neighbours_is_refused():
    with pytest.raises(ValueError, match="similar image"):
        scoring.consensus(["a"], [], scoring.Cider(REFERENCES))
