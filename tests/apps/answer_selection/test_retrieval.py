"""A folder of text files, indexed and asked."""

import pytest

from apps.answer_selection.ranking import baselines
from apps.answer_selection.ranking.retrieval import Index
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


def texts(hits):
    return [hit.text for hit in hits]


def test_sentences_come_with_their_file_and_best_first(folder):
    hits = Index(folder).search("how do glacier caves form ?", most=9)
    assert texts(hits) == [
        "Glacier caves form in ice.",
        "Bats live in rock caves.",
        "Water melts the ice of a glacier.",
    ]
    assert hits[2].path == folder / "deep" / "b.md"
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_scores_are_those_of_the_baseline_fitted_on_the_index(folder):
    index = Index(folder)
    score = baselines.make_bm25(baselines.count_words(index.sentences))
    hits = index.search("glacier ice", most=9)
    expected = score("glacier ice", texts(hits))
    assert [hit.score for hit in hits] == pytest.approx(expected.tolist(), rel=1e-5)


def test_no_more_than_asked_for_are_found(folder):
    assert len(Index(folder).search("caves ice", most=2)) == 2


@pytest.mark.parametrize("question", ["zebra", "?", ""])
def test_a_question_that_shares_no_word_finds_nothing(folder, tmp_path, question):
    assert Index(folder).search(question, most=9) == []


def test_a_sentence_that_comes_again_is_kept_once(folder):
    index = Index(folder)
    assert index.sentences.count("The end") == 1


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none at .*nowhere: give one"):
        Index(tmp_path / "nowhere")


def test_a_folder_without_text_files_is_named(tmp_path):
    (tmp_path / "a.pdf").write_text("text")
    with pytest.raises(UserError, match=r"expected files named \*\.txt, .* found none"):
        Index(tmp_path)


def test_files_without_a_word_are_an_error(tmp_path):
    (tmp_path / "a.txt").write_text(" \n ...")
    with pytest.raises(UserError, match="found no word"):
        Index(tmp_path)


def test_a_file_that_is_not_utf_8_is_named(folder):
    (folder / "c.txt").write_bytes("Höhle".encode("latin-1"))
    with pytest.raises(UserError, match=r"1 of 3.*c\.txt: expected UTF-8 text.*at byte 1"):
        Index(folder)
