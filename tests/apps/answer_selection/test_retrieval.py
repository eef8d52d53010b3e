"""Sentences of a text file, and of a folder of them."""

import io
import sys
from pathlib import Path

import pytest

from apps.answer_selection.ranking import baselines, retrieval
from apps.answer_selection.ranking.retrieval import Index
from common.runs.errors import UserError


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "texts"
    (root / "deep").mkdir(parents=True)
    (root / "a.txt").write_text("Glacier caves form in ice. Bats live in rock caves.\n\nThe end")
    (root / "deep" / "b.md").write_text("Water melts the ice of a glacier.\n\nThe end")
    (root / "image.png").write_bytes(b"\x89PNG glacier")
    return root


def test_paragraphs_are_split_into_sentences_from_a_file_or_standard_input(tmp_path, monkeypatch):
    text = "Dr. Li came. He paid $3.50.\n\n***\n\nWho? He came.\nHe paid $3.50."
    (tmp_path / "text.txt").write_text(text)
    expected = ["Dr. Li came.", "He paid $3.50.", "Who?", "He came."]
    assert retrieval.read_sentences(tmp_path / "text.txt") == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert retrieval.read_sentences(Path("-")) == expected


def test_a_folder_gives_sentences_with_their_file_in_the_order_of_bm25(folder):
    index = Index(folder)
    assert list(index.paths).count("The end") == 1
    paths = index.search("how do glacier caves form ?")
    assert paths == {
        "Glacier caves form in ice.": folder / "a.txt",
        "Bats live in rock caves.": folder / "a.txt",
        "Water melts the ice of a glacier.": folder / "deep" / "b.md",
    }
    scores = baselines.WordStatistics(index.paths).bm25("how do glacier caves form ?", list(paths))
    assert scores.tolist() == sorted(scores, reverse=True)
    assert len(index.search("caves ice", most=2)) == 2


def test_a_text_that_cannot_be_read_is_named_and_the_others_searched(folder, caplog):
    before = Index(folder).paths
    (folder / "unreadable.txt").symlink_to("/proc/self/mem")
    (folder / "dead.txt").symlink_to("nowhere")
    (folder / "loop.txt").symlink_to("loop.txt")
    (folder / "folder.txt").mkdir()
    assert Index(folder).paths == before
    assert f"{folder / 'unreadable.txt'}, it cannot be read: Input/output error" in caplog.text


@pytest.mark.parametrize("question", ["zebra", "?", ""])
def test_a_question_that_shares_no_word_is_a_users_error(folder, question):
    with pytest.raises(UserError, match="expected a word of the question in the texts"):
        Index(folder).search(question)


def test_a_folder_without_text_or_no_folder_is_named(tmp_path):
    (tmp_path / "a.txt").write_text(" \n ...")
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=rf"\.txt, \.md, \.rst of {folder}, found none"):
            Index(folder)


def test_a_text_that_is_missing_or_not_utf_8_is_named(folder):
    with pytest.raises(UserError, match=r"expected a text file .*nowhere\.txt"):
        retrieval.read_sentences(folder / "nowhere.txt")
    (folder / "c.txt").write_bytes("Höhle".encode("latin-1"))
    with pytest.raises(UserError, match=r"c\.txt:1: expected UTF-8 text.*at byte 1 "):
        Index(folder)
