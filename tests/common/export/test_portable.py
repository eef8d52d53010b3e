"""Facts about exports for ONNX Runtime and LiteRT. The whole of each app: test_app_contract.py."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from common.export import conversion, portable
from common.export.conversion import Part
from common.inputs import images, text
from common.layers import recurrent
from common.lstm import layer
from common.runs.errors import UserError

ROOT = Path(__file__).parents[3]
LENGTHS = np.array([6, 1, 4])
MASK = np.arange(6) < LENGTHS[:, None]


@pytest.fixture(scope="module")
def encoder():
    return recurrent.make_encoder(3, 4, num_layers=2, bidirectional="concat")


@pytest.fixture(scope="module")
def values():
    return np.random.default_rng(0).normal(size=(3, 6, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def converted(encoder, tmp_path_factory):
    """The encoder in ONNX Runtime: values and mask -> encoded, last."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"

    def encode(values, mask):
        encoded, last = encoder([values, mask])
        return {"encoded": encoded, "last": last}

    shapes = {
        "values": tf.TensorSpec([None, None, 3], tf.float32),
        "mask": tf.TensorSpec([None, None], tf.bool),
    }
    names = conversion.convert(Part(encode, shapes), path)
    session = onnxruntime.InferenceSession(path)
    return lambda values, mask: session.run(names, {"values": values, "mask": mask})


def test_padding_changes_nothing_for_a_bidirectional_lstm_in_onnx(converted, values):
    encoded, last = converted(values, MASK)
    for row, length in enumerate(LENGTHS):
        alone, its_last = converted(values[row : row + 1, :length], np.ones((1, length), bool))
        np.testing.assert_allclose(encoded[row, :length], alone[0], atol=1e-6)
        np.testing.assert_allclose(last[row], its_last[0], atol=1e-6)
        assert not encoded[row, length:].any()


@pytest.mark.parametrize("mask", [MASK, MASK[:, ::-1], MASK ^ (np.arange(6) == 2)])
def test_onnx_gives_what_keras_gives_wherever_padding_stands(encoder, converted, values, mask):
    for got, expected in zip(converted(values, mask), encoder([values, mask]), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_the_loop_for_litert_gives_what_keras_gives(encoder, values):
    run = tf.function(lambda values, mask: encoder([values, mask]))
    with layer.converting("litert"):
        for row, mask in enumerate(MASK ^ (np.arange(6) == 2)):
            inputs = values[row : row + 1], mask[None]
            for got, expected in zip(run(*inputs), encoder(inputs), strict=True):
                np.testing.assert_allclose(got, expected, atol=1e-6)


def test_eight_bits_are_near_where_two_lstms_share_their_matrices(tmp_path):
    encode = recurrent.make_encoder(8, 8)
    left, right = np.random.default_rng(0).normal(size=(2, 3, 6, 8)).astype(np.float32)
    rows = tf.TensorSpec([None, None, 8], tf.float32)

    def both(left, right):
        mask = tf.ones(tf.shape(left)[:2], tf.bool)
        return {"first": encode([left, mask])[0], "second": encode([right, mask])[0]}

    part = Part(both, {"left": rows, "right": rows})
    conversion.convert(part, tmp_path / "int8.onnx", int8=True)
    session = onnxruntime.InferenceSession(tmp_path / "int8.onnx")
    outputs = session.run(["first", "second"], {"left": left, "right": right})
    expected = both(tf.constant(left), tf.constant(right))
    for name, got in zip(("first", "second"), outputs, strict=True):
        np.testing.assert_allclose(got, expected[name], atol=0.05)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install tf2onnx==.* onnx==.* onnxruntime=="):
        conversion.require("onnx")
    with pytest.raises(UserError, match="pip install ai-edge-litert=="):
        conversion.require("litert")


def test_the_packages_named_are_those_of_the_requirements():
    pinned = (ROOT / "requirements-dev.txt").read_text()
    for packages in conversion.PACKAGES.values():
        assert set(packages) <= set(pinned.split())


def test_other_cells_and_half_precision_are_refused(encoder):
    portable.require_portable(encoder)
    words = keras.Input((None, 3))
    for other, name in (
        (recurrent.make_layer("peephole", 2, name="deep"), "deep of LSTMCell"),
        (keras.layers.GRU(2, name="deep"), "deep of GRUCell"),
        (layer.LSTM(2, activation="relu", name="deep"), "deep of LSTMCell"),
    ):
        inner = keras.Model(words, other(words))
        with pytest.raises(UserError, match=f"expected LSTM layers .* got .*{name}"):
            portable.require_portable(keras.Model(words, inner(words)))
    half = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, dtype="mixed_bfloat16")])
    with pytest.raises(UserError, match=r"expected float32 .*, got .*dense\w* in bfloat16"):
        portable.require_portable(half)


def test_an_answer_that_is_not_that_of_tensorflow_stops_the_export(tmp_path):
    (tmp_path / "runtime.py").write_text(
        "class Runtime:\n"
        "    def __init__(self, folder): pass\n"
        "    def __call__(self, *, word): return {'size': [len(word) + 0.001]}\n"
    )
    with pytest.raises(RuntimeError, match="expected the answers of TensorFlow"):
        portable.check_in_fresh_process(
            tmp_path, [({"word": "été"}, {"size": np.array([3.0])})], close=1e-4
        )
    probe = ({"word": "été"}, {"size": np.array([3.001])})
    portable.check_in_fresh_process(tmp_path, [probe], close=1e-4)


def test_an_answer_of_another_length_stops_the_export_but_for_eight_bits(tmp_path):
    (tmp_path / "runtime.py").write_text(
        "class Runtime:\n"
        "    def __init__(self, folder): pass\n"
        "    def __call__(self, count): return {'tokens': ['a'] * count, 'score': [1.0] * count}\n"
    )
    probe = ({"count": 3}, {"tokens": np.array([b"a"] * 5, object), "score": np.ones(5)})
    with pytest.raises(RuntimeError, match="expected the answers of TensorFlow, got some inf away"):
        portable.check_in_fresh_process(tmp_path, [probe], close=1e-4)
    portable.check_in_fresh_process(tmp_path, [probe], close=float("inf"))
    wider = ({"count": 3}, {"score": np.ones((3, 2))})
    with pytest.raises(RuntimeError, match=r"score: expected the shape \(3, 2\), got \(3,\)"):
        portable.check_in_fresh_process(tmp_path, [wider], close=float("inf"))


def test_a_runtime_that_needs_tensorflow_stops_the_export(tmp_path):
    (tmp_path / "runtime.py").write_text("import tensorflow\n")
    with pytest.raises(RuntimeError, match="tensorflow"):
        portable.check_in_fresh_process(tmp_path, [], close=1e-4)


@pytest.mark.parametrize(
    "sentence",
    [
        "What's “this”?",
        "'quoted' rock 'n' roll\u2019s ``x`` don''t '''",
        "Größe İstanbul ΟΔΟΣ ẞ naïve e\u0301 ǅ ﬁ",
        "a_b __c 12.5 x²½ ① 中文 かな हिन्दी \x00A\u00a0b\u2003c 😀",
        "",
    ],
)
def test_words_are_those_of_the_graph(standalone, sentence):
    words = standalone("common/export/standalone/words.py")
    expected = text.WORDS.standardize(tf.constant(sentence)).numpy().decode()
    assert words.standardize(sentence) == expected


@pytest.mark.parametrize("size", [(48, 80, 3), (7, 9, 4), (64, 64, 1), (33, 5, 3)])
def test_pixels_are_those_of_the_graph(standalone, size):
    pixels = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    encoded = tf.io.encode_png(pixels).numpy()
    expected = images.decode_and_resize(tf.constant(encoded), 16)
    got = standalone("common/export/standalone/pictures.py").read(encoded, 16)
    np.testing.assert_array_equal(got, expected)


def test_a_runtime_answers_from_its_command_line_without_this_project(tiny_export):
    folder = tiny_export("answer_selection", "onnx")
    command = [sys.executable, "-B", folder / "runtime.py", "Which axis?", "Rows.", "The axis."]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True)
    assert sorted(line.partition(". ")[2] for line in done.stdout.splitlines()) == [
        "Rows.",
        "The axis.",
    ]
