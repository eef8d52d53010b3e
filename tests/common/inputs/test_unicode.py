"""Composed characters in a graph, against Python's unicodedata."""

import unicodedata

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from common.inputs import unicode

VALID = [code for code in range(0x30000) if not 0xD800 <= code < 0xE000]  # all that NFC changes


def composed(*texts: str) -> list[str]:
    return [text.decode() for text in unicode.compose(tf.constant(texts)).numpy()]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_every_character_is_composed_as_python_does(form):
    texts = [unicodedata.normalize(form, chr(code)) for code in VALID]
    assert composed(*texts) == [unicodedata.normalize("NFC", text) for text in texts]


PARTS = [chr(code) for code in VALID if unicodedata.normalize("NFD", chr(code)) != chr(code)]
PARTS = sorted({part for whole in PARTS for part in (whole, *unicodedata.normalize("NFD", whole))})
MARKS = [chr(code) for code in VALID if unicodedata.combining(chr(code))]
CHARACTERS = st.sampled_from(PARTS) | st.sampled_from(MARKS) | st.characters(codec="utf-8")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(CHARACTERS, max_size=12), min_size=1, max_size=30))
def test_random_texts_are_composed_as_python_does(texts):
    assert composed(*texts) == [unicodedata.normalize("NFC", text) for text in texts]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("cafe\u0301", "café"),
        ("Vie\u0323\u0302t Nam", "Việt Nam"),
        ("Vi\u00ea\u0323t", "Việt"),  # as some keyboards write it: apart first, then in order
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", "한글"),
        ("\u03b1\u0313\u0300\u0345", "ᾂ"),
        ("\u0438\u0306", "й"),
        ("\u0301e", "\u0301e"),  # a mark at the beginning stays
        ("e\u0301" * 3, "é" * 3),
        ("", ""),
        ("a\x00e\u0301", "a\x00é"),
    ],
)
def test_common_scripts_in_a_batch_with_plain_text(raw, expected):
    assert composed("plain", raw, "", raw) == ["plain", expected, "", expected]


def test_the_shape_is_kept():
    assert unicode.compose(tf.constant([["e\u0301"], ["a"]])).numpy().tolist() == [
        ["é".encode()],
        [b"a"],
    ]
    assert unicode.compose(tf.constant("e\u0301")).numpy() == "é".encode()
    assert unicode.compose(tf.zeros([0, 3], tf.string)).shape == (0, 3)


def test_plain_text_meets_one_pattern_and_no_resource_is_needed():
    traced = tf.function(unicode.compose).get_concrete_function(tf.TensorSpec([None], tf.string))
    assert traced.captured_inputs == [] and traced.structured_outputs.shape.as_list() == [None]
    operations = [
        operation.type
        for operation in traced.graph.get_operations()
        if operation.type not in ("Placeholder", "Const", "Identity")
    ]
    assert operations == ["StaticRegexFullMatch", "All", "StatelessIf", "EnsureShape"]
