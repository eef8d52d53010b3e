"""Types and shapes of inputs and outputs: the right JSON or a clear 400, never a 500."""

import json

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from serving import wire
from serving.errors import RequestError
from serving.signatures import Field, Signature
from tests.serving.conftest import serve

# A type, values that it takes and gives again, values that it does not take.
TYPES = [
    ("bool", [True, False], [1, 0.0, "x"]),
    ("int8", [-128, 127], [128, -129, 1.0]),
    ("uint8", [0, 255], [-1, 256]),
    ("int16", [-(2**15), 2**15 - 1], [2**15]),
    ("uint16", [0, 2**16 - 1], [-1, 2**16]),
    ("int32", [-(2**31), 2**31 - 1], [2**31, True]),
    ("uint32", [0, 2**32 - 1], [-1, 2**32]),
    ("int64", [-(2**63), 2**63 - 1], [2**63, 1e30]),
    ("uint64", [0, 2**64 - 1], [-1, 2**64]),
    ("int4", [-8, 7], [8, 300, 0.5]),
    ("uint4", [0, 15], [-1, 16]),
    ("float16", [0.5, -65504.0], [65520.0, 2049, True, "1"]),
    ("bfloat16", [0.5, -256.0, 1.5 * 2.0**20], [1e39, 257, None]),
    ("float32", [0.1, -16777216.0], [1e39, 2**24 + 1]),
    ("float64", [0.1, 1e308], [2**53 + 1, "1"]),
    ("float8_e5m2", [0.5, -57344.0], [1e6]),
    ("float8_e4m3fn", [0.5, -448.0], [1e6]),
    ("string", ["é", "", {"b64": "YQ=="}], [1, None, True]),
    ("complex64", [], [1.0, [1.0, 2.0]]),
    ("complex128", [], [1.0, "1+2j"]),
    ("qint8", [], [1]),
    ("quint8", [], [1]),
    ("qint32", [], [1]),
]
NUMBERS = tf.TensorSpec([None], tf.int32, name="n")
OUTPUTS = {
    "ragged": lambda n: tf.RaggedTensor.from_row_lengths(tf.range(tf.reduce_sum(n)), n),
    "sparse": tf.sparse.from_dense,
    "complex": lambda n: tf.complex(tf.cast(n, tf.float32), 1.0),
    "quantized": lambda n: (
        tf.quantization.quantize(tf.cast(n, tf.float32), -9.0, 9.0, tf.qint8).output
    ),
    "zeros": tf.zeros,
    "texts": lambda n: tf.fill(n, ""),
    "text": lambda n: tf.strings.join(["é", tf.strings.as_string(n[0]), "\0"]),
    "number": lambda n: n[0],
    "logarithm": lambda n: tf.math.log(tf.cast(n, tf.float32)),
    "narrow": lambda n: tf.math.log(tf.cast(n, tf.bfloat16)),
    "half": lambda n: tf.math.log(tf.cast(n, tf.float16)),
    "quotient": lambda n: 1 // n,
}


@pytest.fixture(scope="module")
def typed(tmp_path_factory):
    """A client of a model with a signature for each type and each kind of output."""

    def concrete(call, spec):
        return tf.function(lambda **inputs: {"y": call(*inputs.values())}).get_concrete_function(
            **{spec.name: spec}
        )

    signatures = {
        name: concrete(tf.identity, tf.TensorSpec([None], tf.as_dtype(name), name="x"))
        for name, _, _ in TYPES
    }
    signatures |= {name: concrete(call, NUMBERS) for name, call in OUTPUTS.items()}
    constant = tf.function(lambda: {"y": tf.constant([1.5])}, input_signature=[])
    signatures["no_input"] = constant.get_concrete_function()
    nothing = tf.function(lambda n: {}, input_signature=[NUMBERS])
    signatures["no_output"] = nothing.get_concrete_function()
    path = tmp_path_factory.mktemp("typed") / "model"
    tf.saved_model.save(tf.Module(), str(path), signatures=signatures)
    with serve({"typed": path}) as client:
        yield client


def ask(client, signature, **document):
    body = json.dumps({"signature_name": signature, **document})
    answer = client.post("/v1/models/typed:predict", content=body)
    return answer.status_code, json.loads(answer.text)


@pytest.mark.parametrize(("name", "taken", "refused"), TYPES, ids=[row[0] for row in TYPES])
def test_values_of_every_type_come_back_or_are_refused(typed, name, taken, refused):
    if taken:
        expected = ["a" if value == {"b64": "YQ=="} else value for value in taken]
        assert ask(typed, name, inputs=taken) == (200, {"outputs": expected})
        assert ask(typed, name, instances=taken) == (200, {"predictions": expected})
    for value in refused:
        status, answer = ask(typed, name, inputs=[value])
        assert (status, list(answer)) == (400, ["error"]), value
        assert answer["error"].startswith("x: ")


@pytest.mark.parametrize(
    ("name", "values", "outputs"),
    [
        ("zeros", [0], []),
        ("zeros", [2, 0], [[], []]),
        ("zeros", [0, 3], []),
        ("zeros", [1, 0, 2], [[]]),
        ("zeros", [1], [0.0]),
        ("texts", [0], []),
        ("texts", [2, 0], [[], []]),
        ("texts", [0, 2], []),
        ("text", [7], "é7\0"),
        ("number", [7], 7),
        ("no_output", [7], {}),
    ],
)
def test_empty_shapes_and_values_alone_are_json(typed, name, values, outputs):
    assert ask(typed, name, inputs=values) == (200, {"outputs": outputs})


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("ragged", "y: JSON has no form for its type (RaggedTensor)"),
        ("sparse", "y: JSON has no form for its type (SparseTensor)"),
        ("complex", "y: JSON has no form for its type (complex64)"),
        ("quantized", "y: JSON has no form for its type (qint8)"),
        ("quotient", "Integer division by zero"),
    ],
)
@pytest.mark.parametrize("key", ["inputs", "instances"])
def test_what_json_cannot_hold_is_refused(typed, name, error, key):
    assert ask(typed, name, **{key: [1, 0]}) == (400, {"error": error})


@pytest.mark.parametrize("name", ["logarithm", "narrow", "half"])
@pytest.mark.parametrize("key", ["outputs", "predictions"])
def test_numbers_that_are_not_finite_are_those_of_tensorflow_serving(typed, name, key):
    asked = {"outputs": "inputs", "predictions": "instances"}[key]
    body = json.dumps({"signature_name": name, asked: [0, -1, 1]})
    text = typed.post("/v1/models/typed:predict", content=body).text
    assert text == f'{{"{key}": [-Infinity, NaN, 0.0]}}'


@pytest.mark.parametrize("document", [{"inputs": {}}, {"instances": [{}]}])
def test_a_signature_without_inputs_answers(typed, document):
    status, answer = ask(typed, "no_input", **document)
    assert (status, list(answer.values())) == (200, [[1.5]])


@pytest.mark.parametrize("document", [{"inputs": [1]}, {"inputs": 1}, {"instances": [1]}])
def test_a_signature_without_inputs_takes_no_value(typed, document):
    status, answer = ask(typed, "no_input", **document)
    assert status == 400 and "expecting" in answer["error"]


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4"])
def test_arrays_of_narrow_types_are_written_as_their_values(name):
    values = np.array([[0, 1], [2, 4]], getattr(ml_dtypes, name))
    assert json.loads(wire.encode({"y": values}, rows=True)) == {"predictions": [[0, 1], [2, 4]]}
    with pytest.raises(RequestError, match="no form"):
        wire.encode({"y": np.zeros(2, complex)}, rows=False)


def test_a_batch_with_an_empty_row_is_cut_to_its_longest():
    from serving.batching import shortened

    letters = Field(dtype=np.dtype(object), shape=(None, None), dims=("batch", "time"))
    shares = Field(dtype=np.dtype("float32"), shape=(None, None), dims=("batch", "time"))
    signature = Signature({}, {"letters": letters, "shares": shares})
    for rows, size in ((1, 0), (0, 3), (0, 0), (2, 3)):
        outputs = {"letters": np.full((rows, size), b"", object), "shares": np.zeros((rows, size))}
        assert {values.shape for values in shortened(outputs, signature).values()} == {(rows, 0)}
