import base64
import json

import numpy as np
import pytest

from serving import wire
from serving.errors import RequestError
from serving.signatures import Field, Signature

TWO = Signature(
    {
        "a": Field(dtype=np.dtype("float32"), shape=(None, 2), dims=("batch", 2)),
        "b": Field(dtype=np.dtype(object), shape=(None,), dims=("batch",)),
    },
    {},
)
ONE = Signature({"n": Field(dtype=np.dtype("int32"), shape=(None,), dims=("batch",))}, {})
SIGNATURES = {"serving_default": TWO, "one": ONE}


def parse(document):
    return wire.parse(json.dumps(document).encode(), SIGNATURES)


def test_rows_and_columns_are_the_same_request():
    words = ["é", {"b64": base64.b64encode(b"\xff\x00").decode()}]
    columns = parse({"inputs": {"a": [[1, 2.5], [3, 4]], "b": words}})
    rows = parse({"instances": [{"a": [1, 2.5], "b": words[0]}, {"a": [3, 4], "b": words[1]}]})
    assert (rows.rows, columns.rows) == (True, False)
    for parsed in (rows, columns):
        np.testing.assert_array_equal(parsed.inputs["a"], np.float32([[1, 2.5], [3, 4]]))
        assert parsed.inputs["b"].tolist() == ["é".encode(), b"\xff\x00"]


@pytest.mark.parametrize("key", ["inputs", "instances"])
def test_an_only_input_needs_no_name(key):
    assert parse({"signature_name": "one", key: [1, 2]}).inputs["n"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "Is not object"),
        ({}, "neither"),
        ({"inputs": [], "instances": []}, "both"),
        ({"signature_name": 3, "inputs": []}, "must be a string"),
        ({"signature_name": "../x", "inputs": []}, "not found in signature def"),
        ({"instances": {}}, "to be an list"),
        ({"instances": []}, "No values"),
        ({"instances": [1]}, "plain list"),
        ({"instances": [{"a": [1, 2]}]}, "keys must be equal to: a,b"),
        ({"instances": [{"a": [1, 2], "b": "", "c": 1}]}, "keys must be equal to: a,b"),
        ({"inputs": {"a": [[1, 2]]}}, "Missing named input: b"),
        ({"inputs": {"a": [[1, 2], [3]], "b": ["", ""]}}, "lists of one size"),
        ({"inputs": {"a": [[1, 2, 3]], "b": [""]}}, r"shape \[-1,2\], got \[1, 3\]"),
        ({"inputs": {"a": [[[1, 2]]], "b": [""]}}, "unexpected level"),
        ({"inputs": {"a": [[]], "b": [""]}}, "empty list"),
        ({"inputs": {"a": [[1, "2"]], "b": [""]}}, "JSON type str"),
        ({"inputs": {"a": [[1, True]], "b": [""]}}, "JSON type bool"),
        ({"inputs": {"a": [[1, 1e39]], "b": [""]}}, "without loss of precision"),
        ({"inputs": {"a": [[1, 2**24]], "b": [""]}}, "without loss of precision"),
        ({"inputs": {"a": [[1, float("nan")]], "b": [""]}}, "JSON Parse error"),
        ({"inputs": {"a": [[1, 2]], "b": [1]}}, "expected a string"),
        ({"inputs": {"a": [[1, 2]], "b": [{"b64": "*"}]}}, "base64"),
        ({"inputs": {"a": [[1, 2]], "b": [{"b64": "AA", "x": 1}]}}, "expected a string"),
        ({"signature_name": "one", "inputs": [1.0]}, "JSON type float"),
        ({"signature_name": "one", "inputs": [2**31]}, "out of range"),
        ({"signature_name": "one", "inputs": [2**70]}, "JSON type float"),
    ],
)
def test_what_the_signature_does_not_take_is_refused(document, message):
    with pytest.raises(RequestError, match=message) as refused:
        parse(document)
    assert refused.value.status == 400


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"inputs": "\\ud800"}', b"[" * 100_000])
def test_what_is_not_json_is_refused(body):
    with pytest.raises(RequestError, match="JSON Parse error"):
        wire.parse(body, SIGNATURES)


def test_an_answer_has_names_only_when_it_has_several_outputs():
    single = {"y": np.float32([0.1, 2])}
    assert wire.encode(single, rows=True) == b'{"predictions":[0.1,2.0]}'
    assert wire.encode(single, rows=False) == b'{"outputs":[0.1,2.0]}'
    two = {**single, "s": np.array([b"\xc3\xa9", b"b"], object)}
    assert json.loads(wire.encode(two, rows=True)) == {
        "predictions": [{"y": 0.1, "s": "é"}, {"y": 2.0, "s": "b"}]
    }
    assert json.loads(wire.encode(two, rows=False)) == {
        "outputs": {"y": [0.1, 2.0], "s": ["é", "b"]}
    }


def test_outputs_named_bytes_are_base64():
    outputs = {"x_bytes": np.array([[b"\xff"]], object)}
    assert wire.encode(outputs, rows=True) == b'{"predictions":[[{"b64":"/w=="}]]}'


@pytest.mark.parametrize("rows", [True, False])
def test_answers_hold_nan_and_infinity_as_tensorflow_serving_writes_them(rows):
    outputs = {"x": np.float32([np.nan, np.inf]), "n": np.int64([1, 2])}
    text = wire.encode(outputs, rows).decode()
    assert "NaN" in text and "Infinity" in text
    values = json.loads(text)["predictions" if rows else "outputs"]
    assert (values[1]["x"] if rows else values["x"][1]) == np.inf


def test_outputs_of_other_sizes_cannot_come_in_rows():
    with pytest.raises(RequestError, match="inconsistent batch size"):
        wire.encode({"a": np.zeros(2), "b": np.zeros(3)}, rows=True)
    with pytest.raises(RequestError, match="no shape"):
        wire.encode({"a": np.zeros(())}, rows=True)
