"""Texts to translations: one, files, through the SavedModel; and what is refused."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf

from apps.translation.translating import baselines
from apps.translation.translating.validation import Texts
from common.runs.errors import UserError

HOSTILE = [
    "☃ 👩🏽‍🚒 new",
    "שלום, مرحبا",
    "a\x00b",
    "  much   space ",
    "<pad> </s> >>x",
    "word " * 5000,
]


@pytest.fixture(scope="module")
def saved(tiny_export):
    return tf.saved_model.load(str(tiny_export("translation")))


def translations_of(saved, texts):
    outputs = saved.signatures["serving_default"](text=tf.constant(texts, tf.string))
    return {name: value.numpy() for name, value in outputs.items()}


def test_as_many_translations_as_the_beam_best_first_with_attention(predictor):
    (result,) = predictor.translate(["woman firefighter"], "fr")
    scores = [score for _, score in result.translations]
    assert len(scores) == 2 and scores == sorted(scores, reverse=True)
    assert result.source_pieces[0] == "<to_fr>" and result.source_pieces[-1] == "<end>"
    assert "".join(result.source_pieces[1:-1]) == " woman firefighter"
    assert result.attention.shape == (len(result.target_pieces), len(result.source_pieces))
    np.testing.assert_allclose(result.attention.sum(1), 1, rtol=1e-5)


def test_the_saved_model_gives_what_predict_gives(predictor, saved):
    texts = ["flag", "woman firefighter dark skin tone", *HOSTILE[:4]]
    there = translations_of(saved, [f">>fr<< {text}" for text in texts])
    for row, here in enumerate(predictor.translate(texts, "fr")):
        assert [t.decode() for t in there["translation"][row]] == [t for t, _ in here.translations]
        np.testing.assert_allclose(
            there["score"][row], [s for _, s in here.translations], rtol=1e-4
        )


def test_a_text_without_a_tag_is_translated_into_the_first_language(saved):
    tagged = translations_of(saved, [">>de<<flag", "flag"])
    assert tagged["translation"][0].tolist() == tagged["translation"][1].tolist()
    assert tagged["source_pieces"][1][0] == b"<to_de>"


def test_a_batch_is_its_texts_one_by_one(saved):
    texts = ["flag", "woman firefighter dark skin tone", ">>fr<< cat", "1 ☃"]
    together = translations_of(saved, texts)
    for row, text in enumerate(texts):
        alone = translations_of(saved, [text])
        assert alone["translation"][0].tolist() == together["translation"][row].tolist()
        np.testing.assert_allclose(alone["score"][0], together["score"][row], rtol=1e-4)


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_with_a_letter_is_translated_into_valid_text(predictor, text):
    (result,) = predictor.translate([text])
    assert result.text == text
    for translation, score in result.translations:
        assert "\ufffd" not in translation and np.isfinite(score)
    assert len(result.source_pieces) <= 42  # TINY reads 40 pieces


@pytest.mark.parametrize(
    "texts, message",
    [
        (["good", "", "good", "  \t"], r"text: expected at least one letter.*\[1 3\]"),
        (["good", ">>xx<< good"], r"text: expected a language of the run in its tag.*\[1\]"),
    ],
)
def test_a_request_that_cannot_be_answered_names_its_rows(saved, texts, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"(?s){message}"):
        translations_of(saved, texts)


def test_bytes_that_are_no_text_are_answered(saved):
    outputs = translations_of(saved, [b"caf\xe9 au lait"])
    assert outputs["translation"][0][0].decode() is not None
    pieces = [piece.decode() for piece in outputs["source_pieces"][0]]
    assert "<0xEF>" in pieces  # U+FFFD, which no training text has


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "expected texts, --text or --file with a word in it, got none"),
        (["--text", " \t"], "expected texts, --text or --file with a word"),
        (["--text", "a", " "], "expected a text with a word, got ' ' as text 2"),
        (["--text", "\x00"], r"expected a text with a word, got '\\x00' as text 1"),
        (["--text", "a", "--language", "xx"], "expected --language out of de, fr, got xx"),
        (["--text", "a", "--alternatives", "0"], "expected --beam and --alternatives >= 1"),
        (["--file", "absent.txt"], "expected a text file absent.txt, found none"),
    ],
)
def test_what_cannot_be_translated_is_one_line(run_command, translation_run, arguments, message):
    with pytest.raises(UserError, match=message):
        run_command("translation", "predict", "--run-dir", translation_run, *arguments)


def test_an_argument_that_is_no_unicode_is_translated(predictor):
    (result,) = predictor.translate(["caf\udce9"])
    assert result.translations and "<0x3F>" in result.source_pieces  # "?" as a byte


def test_a_file_is_translated_line_by_line(run_command, translation_run, predictor, tmp_path):
    lines = ["flag", "", "cat face", "woman firefighter", ""]
    (tmp_path / "in.txt").write_text("\n".join(lines) + "\n")
    options = ["--run-dir", translation_run, "--file", tmp_path / "in.txt"]
    run_command("translation", "predict", *options, "--output", tmp_path / "out.txt")
    written = (tmp_path / "out.txt").read_text().split("\n")
    alone = {line: predictor.translate([line])[0].translations[0][0] for line in lines if line}
    assert written == [alone.get(line, "") for line in lines] + [""]


def test_alternatives_are_printed_with_their_scores(run_command, translation_run, capsys):
    options = ["--run-dir", translation_run, "--text", "flag", "--alternatives", "3"]
    run_command("translation", "predict", *options)
    rows = capsys.readouterr().out.splitlines()
    scores = [float(row.split()[0]) for row in rows]
    assert len(rows) == 3 and scores == sorted(scores, reverse=True)
    run_command("translation", "predict", *options, "--json")
    (text,) = json.loads(capsys.readouterr().out)["texts"]
    assert [round(score, 3) for _, score in text["translations"]] == scores


def test_standard_input_is_read(run_command, translation_run, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("flag\n\ncat\n"))
    run_command("translation", "predict", "--run-dir", translation_run, "--file", "-")
    assert len(capsys.readouterr().out.splitlines()) == 3


TRAINING = Texts(
    ["the red door", "the red lamp", "a blue door", "a blue lamp", "the door", "lamp", "blue"],
    [
        *("die rote Tür", "die rote Lampe", "eine blaue Tür", "eine blaue Lampe"),
        *("die Tür", "Lampe", "blaue"),
    ],
    ["de"] * 7,
)


def test_rivals_know_training_alone():
    texts = Texts(["the blue lamp", "the red door!"], ["", ""], ["de", "de"])
    written = baselines.translate(TRAINING, texts)
    assert written["copy"] == texts.sources
    assert written["translation_memory"] == ["eine blaue Lampe", "die rote Tür"]
    assert written["word_for_word"] == ["die blaue Lampe", "die rote Tür!"]


def test_ibm_model_1_is_that_of_the_equations():
    """Two steps of expectation maximisation by hand, in loops."""
    pairs = [(source.split(), target.split()) for source, target in zip(*TRAINING[:2], strict=True)]
    words = {word for _, target in pairs for word in target}
    t = {(e, f): 1.0 for source, _ in pairs for e in ["", *source] for f in words}
    for _ in range(baselines._ITERATIONS):
        counts = dict.fromkeys(t, 0.0)
        for source, target in pairs:
            for f in target:
                total = sum(t[e, f] for e in ["", *source])
                for e in ["", *source]:
                    counts[e, f] += t[e, f] / total
        for e in {e for e, _ in t}:
            total = sum(counts[e, f] for f in words)
            t.update({(e, f): counts[e, f] / total for f in words})
    best = {e: max(words, key=lambda f: t[e, f]) for e in ("red", "blue", "lamp", "door")}
    rival = baselines.fit(*TRAINING[:2], "de")["word_for_word"]
    assert {e: rival([e])[0] for e in best} == best
