"""Scores of translations: those of sacrebleu, by language, and faults that can be seen."""

import pytest
import sacrebleu

from common.scoring import translations

WRITTEN = ["The cat sat on the mat today .", "a dog runs quickly", "Hello there"]
RIGHT = ["The cat is on the mat today .", "A dog runs very quickly", "Hello there"]


def test_scores_are_those_of_sacrebleu():
    scores = translations.score(WRITTEN, RIGHT, ["de"] * 3)
    assert scores["bleu"] == pytest.approx(sacrebleu.corpus_bleu(WRITTEN, [RIGHT]).score / 100)
    lower = sacrebleu.corpus_bleu(WRITTEN, [RIGHT], lowercase=True).score / 100
    assert scores["bleu_lower"] == pytest.approx(lower) and lower > scores["bleu"]
    assert scores["chrf"] == pytest.approx(sacrebleu.corpus_chrf(WRITTEN, [RIGHT]).score / 100)
    assert scores["exact_match"] == pytest.approx(1 / 3)


def test_several_languages_are_scored_apart_and_averaged():
    together = translations.score(WRITTEN, RIGHT, ["de", "de", "fr"])
    german = translations.score(WRITTEN[:2], RIGHT[:2], ["de"] * 2)
    french = translations.score(WRITTEN[2:], RIGHT[2:], ["fr"])
    assert together == pytest.approx({name: (german[name] + french[name]) / 2 for name in german})


def test_languages_without_spaces_are_counted_by_character():
    near, right = "電気を消してください", "電気を消して下さい"
    assert translations.score([near], [right], ["ja"])["bleu"] > 0.3
    assert translations.score([near], [right], ["de"])["bleu"] == 0
    named = translations.signatures(["ja", "de", "zh-Hans"])
    assert "tok:char" in named["bleu (char)"] and "tok:zh" in named["bleu (zh)"]
    assert "tok:13a" in named["bleu (13a)"] and "version:" in named["chrf"]


def test_copies_and_repetitions_are_counted():
    written = ["a a b", "to be or not to be", "the end the end", "papa", "same"]
    faults = translations.faults(written, ["x"] * 4 + ["same"])
    assert faults == {"copies of the source": 0.2, "with a repetition": 0.4}
