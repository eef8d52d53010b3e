"""A folder of text files, indexed and asked."""

import os

import pytest

from apps.answer_selection import baselines
from apps.answer_selection.corpus import Corpus
from common.runs.errors import UserError


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "texts"
    (root / "deep").mkdir(parents=True)
    (root / "a.txt").write_text("Glacier caves form in ice. Bats live in rock caves.\n\nThe end")
    (root / "deep" / "b.md").write_text("Water melts the ice of a glacier.\n\nThe end")
    (root / "image.png").write_bytes(b"\x89PNG glacier")
    (root / ".hidden.txt").write_text("Hidden glacier.")
    return root


def texts(found):
    return [one.text for one in found]


def test_sentences_come_with_their_file_and_best_first(folder, tmp_path):
    found = Corpus.open(folder, cache_dir=tmp_path / "cache").find(
        "how do glacier caves form ?", most=9
    )
    assert texts(found) == [
        "Glacier caves form in ice.",
        "Bats live in rock caves.",
        "Water melts the ice of a glacier.",
    ]
    assert found[2].path == folder / "deep" / "b.md"
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_scores_are_those_of_the_baseline_fitted_on_the_corpus(folder, tmp_path):
    corpus = Corpus.open(folder, cache_dir=tmp_path / "cache")
    score = baselines.make_bm25(baselines.count_words(corpus.sentences))
    found = corpus.find("glacier ice", most=9)
    expected = score("glacier ice", texts(found))
    assert [one.score for one in found] == pytest.approx(expected.tolist(), rel=1e-5)


def test_no_more_than_asked_for_are_found(folder, tmp_path):
    assert len(Corpus.open(folder, cache_dir=tmp_path / "cache").find("caves ice", most=2)) == 2


@pytest.mark.parametrize("question", ["zebra", "?", ""])
def test_a_question_that_shares_no_word_finds_nothing(folder, tmp_path, question):
    assert Corpus.open(folder, cache_dir=tmp_path / "cache").find(question, most=9) == []


def test_a_sentence_that_comes_again_is_kept_once(folder, tmp_path):
    corpus = Corpus.open(folder, cache_dir=tmp_path / "cache")
    assert corpus.sentences.count("The end") == 1


def test_the_kept_index_gives_the_same_without_making_it_again(folder, tmp_path):
    cache = tmp_path / "cache"
    first = Corpus.open(folder, cache_dir=cache).find("glacier caves", most=9)
    (kept,) = cache.iterdir()
    made = kept.stat().st_ino
    assert Corpus.open(folder, cache_dir=cache).find("glacier caves", most=9) == first
    assert kept.stat().st_ino == made


def test_changed_files_are_indexed_anew_and_the_old_index_goes(folder, tmp_path):
    cache = tmp_path / "cache"
    Corpus.open(folder, cache_dir=cache)
    (folder / "a.txt").write_text("Lava tubes are caves too.")
    found = Corpus.open(folder, cache_dir=cache).find("caves", most=9)
    assert texts(found) == ["Lava tubes are caves too."]
    assert len(list(cache.iterdir())) == 1


def test_a_damaged_index_is_made_again(folder, tmp_path):
    cache = tmp_path / "cache"
    Corpus.open(folder, cache_dir=cache)
    (array,) = cache.rglob("data.csc.index.npy")
    array.write_bytes(array.read_bytes()[:50])
    assert len(Corpus.open(folder, cache_dir=cache).find("glacier", most=9)) == 2


def test_the_index_holds_no_pickle(folder, tmp_path):
    Corpus.open(folder, cache_dir=tmp_path / "cache")
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert {path.suffix for path in kept} == {".json", ".txt", ".npy"}


def test_the_cache_folder_of_the_user_is_the_default(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    Corpus.open(folder)
    assert os.listdir(tmp_path / "home") == ["cellstate"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none at .*nowhere: give one"):
        Corpus.open(tmp_path / "nowhere")


def test_a_folder_without_text_files_is_named(tmp_path):
    (tmp_path / "a.pdf").write_text("text")
    with pytest.raises(UserError, match=r"expected files named \*\.txt, .* found none"):
        Corpus.open(tmp_path, cache_dir=tmp_path)


def test_files_without_a_word_are_an_error(tmp_path):
    (tmp_path / "a.txt").write_text(" \n ...")
    with pytest.raises(UserError, match="found no word"):
        Corpus.open(tmp_path, cache_dir=tmp_path)


def test_a_file_that_is_not_utf_8_is_named(folder, tmp_path):
    (folder / "c.txt").write_bytes("Höhle".encode("latin-1"))
    with pytest.raises(UserError, match=r"1 of 3.*c\.txt: expected UTF-8 text.*at 1"):
        Corpus.open(folder, cache_dir=tmp_path / "cache")
