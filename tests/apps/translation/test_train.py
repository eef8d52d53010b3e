"""Complete runs: what is left behind, bytes of other languages, and what is refused."""

import csv
import json
from dataclasses import replace

import pytest

from apps.translation import config, evaluate, predict, train
from common.runs.errors import UserError


def tiny_on(name, root, languages=("de",), **options):
    data = replace(
        config.TINY.data, name=name, root=root, cache_dir=root / "cache", target_languages=languages
    )
    return replace(config.TINY, data=data, train=replace(config.TINY.train, **options))


def test_a_run_on_files_of_ones_own_translates(multi30k, tmp_path):
    train.train(tiny_on("multi30k", multi30k, epochs=1), tmp_path / "run")
    result = evaluate.evaluate(tmp_path / "run", "test")
    assert result.num_examples == 8
    assert set(result.baselines) == {"copy", "translation_memory", "word_for_word"}
    assert result.metrics.keys() == {"bleu", "bleu_lower", "chrf", "exact_match"}
    text = (tmp_path / "run" / "translations-test.tsv").read_text()
    rows = [line.split("\t") for line in text.splitlines()]
    assert rows[0] == ["source", "reference", "model", *result.baselines] and len(rows) == 9
    predictor = predict.Predictor.load(tmp_path / "run")
    assert predictor.languages == ["de"]
    assert any("nrefs" in note for note in result.notes)


def test_pieces_of_the_run_are_those_of_its_training_text(translation_run):
    pieces = (translation_run / "vocab_pieces.txt").read_text().split("\n")[:-1]
    assert len(pieces) == 400
    assert pieces[260:262] == ["<to_de>", "<to_fr>"]
    assert " skin" in pieces


def test_validation_decodes_freely(translation_run):
    rows = list(csv.DictReader((translation_run / "history.csv").read_text().splitlines()))
    for row in rows:
        assert 0 <= float(row["val_bleu"]) <= 1 and 0 < float(row["val_largest_share"]) <= 1
        assert float(row["val_chrf"]) > 0 and float(row["val_loss"]) > 0


def test_a_run_that_writes_one_text_for_all_is_warned_of(translation_run):
    result = evaluate.evaluate(translation_run, "validation")
    shares = json.loads((translation_run / "metrics-validation.json").read_text())["details"]
    assert 0 <= shares["of the translations"]["copies of the source"] <= 1
    if any("get the same translation" in note for note in result.notes):
        assert "train longer" in " ".join(result.notes)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_pieces": 100}, "data.num_pieces of at least 300"),
        ({"target_languages": ()}, "data.target_languages of at least one"),
        ({"target_languages": ("d e",)}, "expected a language such as de"),
        ({"max_pieces": 0}, "data.max_pieces of at least 1"),
    ],
)
def test_options_without_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        config.DataConfig(**options)


def test_texts_that_are_all_too_long_are_named(multi30k, tmp_path):
    chosen = tiny_on("multi30k", multi30k)
    chosen = replace(chosen, data=replace(chosen.data, max_pieces=2))
    with pytest.raises(UserError, match="expected texts of at most 2 pieces, all 48 are longer"):
        train.train(chosen, tmp_path / "run")
