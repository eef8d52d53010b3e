"""Where sentences end."""

import pytest

from apps.answer_selection.corpora.sentence_splitter import split_sentences


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith met Prof. Li and Mrs. Jones.",
        "It costs $3.50 or 1,200.75 in all.",
        "The U.S. Senate voted at 5 p.m. Tuesday.",
        "J. R. R. Tolkien wrote it.",
        "See fig. 3 and eq. 4 of vol. 2.",
        "Rates rose, e.g. Treasury bills, i.e. Bonds.",
        "It opened on Jan. 5 in St. Louis.",
        "Alfred P. Murrah, see p. 5, met Fr. Logan.",
        '"Why?" she asked him.',
        "The file setup.py is read first.",
        "Wait... what was that",
    ],
)
def test_no_sentence_ends_inside(text):
    assert split_sentences(text) == [text]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It rained. We left.", ["It rained.", "We left."]),
        ("Really?! Yes! No.", ["Really?!", "Yes!", "No."]),
        ('He said "go." She went.', ['He said "go."', "She went."]),
        ("It is in the U.S. The capital is far.", ["It is in the U.S.", "The capital is far."]),
        ("It is on 5th St. It is old.", ["It is on 5th St.", "It is old."]),
        ("It is 3.5. Then 4.", ["It is 3.5.", "Then 4."]),
        ("She sold it to Acme Inc. He left.", ["She sold it to Acme Inc.", "He left."]),
        ("It was no. This is so.", ["It was no.", "This is so."]),
    ],
)
def test_sentences_end_where_a_reader_would_stop(text, sentences):
    assert split_sentences(text) == sentences


def test_wrapped_lines_are_one_sentence_and_blank_lines_part_them():
    sentences = ["A title", "It goes on here.", "End"]
    assert split_sentences("A title\n\nIt goes\non here.\n \n\nEnd\n\n\t ") == sentences
    assert split_sentences("") == []
