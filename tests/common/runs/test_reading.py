"""JSON and its structure."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.runs import files
from common.runs.errors import UserError

SAMPLES = st.recursive(
    st.sampled_from(["", 0, 0.0]),
    lambda inner: st.lists(inner, max_size=1) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=5,
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\udc80"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner),
    max_leaves=9,
)


@settings(max_examples=300, deadline=None)
@given(VALUES, SAMPLES)
def test_what_is_repaired_has_the_structure_and_what_has_it_stays(value, like):
    repaired = files.repaired(value, like)
    assert files.mismatch(repaired, like) is None
    if files.mismatch(value, like) is None:
        assert repaired == value or value != value  # NaN


@pytest.mark.parametrize(
    ("value", "like", "message"),
    [
        ({"id": 1, "more": None}, {"id": 0}, None),
        ({"id": True}, {"id": 0}, "expected a whole number at .id, got true"),
        ({"id": 1.0}, {"id": 0}, "expected a whole number at .id, got 1.0"),
        ([1, 2.5], [0.0], None),
        ([[1], ["a"]], [[0.0]], 'expected a number at [1][0], got "a"'),
        ({}, {"texts": []}, "expected a list at .texts, got null"),
        ([], {"a": ""}, "expected an object, got []"),
        ("half \ud83d", "", 'expected text, got "half \\ud83d"'),
        ("whole \U0001f600", "", None),
    ],
)
def test_a_difference_is_named_with_its_place(value, like, message):
    assert files.mismatch(value, like) == message


def test_a_file_of_another_structure_is_named(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"split": None}))
    with pytest.raises(UserError, match=r"a\.json: expected text at \.split, got null: get the"):
        files.read_json(path, {"split": ""})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "ä\nx ö".encode("latin-1"), r"a\.txt:1: expected UTF-8 .* at byte 0 of the line"),
        ("a.txt", b"x\n\xff", r"a\.txt:2: expected UTF-8 text, got other bytes .* at byte 0"),
        ("a.txt", None, r"expected a text file .*a\.txt, found none"),
        ("a.gz", b"no gzip", r"a\.gz, it cannot be read: Not a gzipped file"),
        ("a.gz", b"\x1f\x8b\x08\0", r"a\.gz, it cannot be read: "),
    ],
)
def test_what_is_no_text_is_one_line(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as raised:
        files.read_text(tmp_path / name)
    assert "\n" not in str(raised.value)
