"""Facts about written SavedModels: checked elsewhere, whole or not at all."""

import base64
import io
import json
import types
from pathlib import Path

import pytest
import tensorflow as tf

from common.export import check_saved_model, portable, saved_model
from common.runs.errors import UserError

STRINGS = tf.TensorSpec([None], tf.string, name="text")
CARD = {"task": "shout", "licences": ["none"]}
PROBE = {"text": ["a", b"\xff\x00b", "été"]}


class Shout(tf.Module):
    """Strings to upper case, and their lengths times a weight."""

    def __init__(self, weight: float = 2.0):
        super().__init__()
        self.weight = tf.Variable(weight)
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(["a"], [7]), default_value=-1
        )

    @tf.function(input_signature=[STRINGS])
    def __call__(self, text):
        length = tf.cast(tf.strings.length(text), tf.float32)
        return {
            "loud": tf.strings.upper(text),
            "weight": self.weight * length,
            "id": self.table.lookup(text),
        }


class ThroughPython(tf.Module):
    @tf.function(input_signature=[STRINGS])
    def __call__(self, text):
        loud = tf.py_function(lambda t: tf.strings.upper(t), [text], tf.string)
        return {"loud": tf.ensure_shape(loud, [None])}


class ThroughNumpy(tf.Module):
    @tf.function(input_signature=[STRINGS])
    def __call__(self, text):
        return {"loud": tf.ensure_shape(tf.numpy_function(lambda t: t, [text], tf.string), [None])}


class InABranch(tf.Module):
    """Hides its Python in a branch that the probe never takes."""

    @tf.function(input_signature=[STRINGS])
    def __call__(self, text):
        length = tf.cond(
            tf.size(text) > 100,
            lambda: tf.py_function(lambda t: len(t), [text], tf.int32),
            lambda: tf.size(text),
        )
        return {"length": tf.reshape(length, [1])}


class Compiled(tf.Module):
    @tf.function(input_signature=[STRINGS])
    def __call__(self, text):
        return {"double": self.double(tf.cast(tf.strings.length(text), tf.float32))}

    @tf.function(jit_compile=True)
    def double(self, values):
        return 2 * values


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """Written and checked in a fresh process, once for the tests of this file.

    By a relative path, as people give it, which the process would look for elsewhere.
    """
    path = tmp_path_factory.mktemp("runs") / "saved_model"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)
        saved_model.write_saved_model(Shout(), Path("saved_model"), card=CARD, probe=PROBE)
    return path


def test_an_export_answers_like_its_module(export):
    loaded = tf.saved_model.load(str(export))
    outputs = loaded.signatures["serving_default"](text=tf.constant(["a", "bcd"]))
    got = {name: value.numpy().tolist() for name, value in outputs.items()}
    assert got == {"loud": [b"A", b"BCD"], "weight": [2.0, 6.0], "id": [7, -1]}


def test_the_card_stands_in_the_export(export):
    card = json.loads((export / "assets.extra" / "card.json").read_text(encoding="utf-8"))
    assert card == CARD


def test_nothing_but_the_export_is_written(export):
    assert [path.name for path in export.parent.iterdir()] == ["saved_model"]


def test_an_export_has_no_operation_that_needs_this_process(export):
    assert saved_model.unportable_operations(export) == set()


@pytest.mark.parametrize(
    ("module", "operation"),
    [
        (ThroughPython, "EagerPyFunc"),
        (ThroughNumpy, "PyFunc"),
        (InABranch, "EagerPyFunc"),
        (Compiled, "_XlaMustCompile"),
    ],
)
def test_a_module_that_needs_this_process_is_refused_and_leaves_nothing(
    tmp_path, module, operation
):
    with pytest.raises(RuntimeError, match=f"needs this process: {operation}"):
        saved_model.write_saved_model(module(), tmp_path / "export", card=CARD, probe=PROBE)
    assert list(tmp_path.iterdir()) == []


def test_an_older_export_stays_when_the_new_one_fails(tmp_path):
    older = tmp_path / "export" / "assets.extra" / "card.json"
    older.parent.mkdir(parents=True)
    older.write_text("old")
    with pytest.raises(RuntimeError, match="needs this process"):
        saved_model.write_saved_model(ThroughPython(), tmp_path / "export", card=CARD, probe=PROBE)
    assert older.read_text() == "old"


def test_nothing_but_an_older_export_is_replaced(tmp_path):
    (tmp_path / "notes.txt").touch()
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(UserError, match=r"or an older export .* name another --output"):
            saved_model.write_saved_model(Shout(), path, card=CARD, probe=PROBE)
        with pytest.raises(UserError, match=r"or an older export .* name another --output"):
            portable.write_runtime(
                path, {}, format="onnx", sources=[], settings={}, copies=[], card={}, probes=[]
            )
    assert (tmp_path / "notes.txt").exists()


@pytest.mark.parametrize("name", ["a*", "?", "run [1]", "back\\slash"])
def test_a_name_from_which_tensorflow_could_not_load_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"expected an --output path without \* \? \[ .*: name"):
        saved_model.write_saved_model(Shout(), tmp_path / name, card=CARD, probe=PROBE)
    assert list(tmp_path.iterdir()) == []


class Untracked(tf.Module):
    """Keeps its table where TensorFlow does not look."""

    def __init__(self):
        super().__init__()
        self.parts = types.SimpleNamespace(table=Shout().table)

    @tf.function(input_signature=[STRINGS])
    def __call__(self, text):
        return {"id": self.parts.table.lookup(text)}


def test_a_table_that_is_no_attribute_is_named(tmp_path):
    with pytest.raises(RuntimeError, match=r"table .* that it does not track: keep it as an attr"):
        saved_model.write_saved_model(Untracked(), tmp_path / "export", card=CARD, probe=PROBE)


# The check in the fresh process, run here


def in_base64(values: list[bytes]) -> list[dict]:
    return [{"b64": base64.b64encode(value).decode()} for value in values]


def check(export, **outputs) -> None:
    probes = {"serving_default": {"text": in_base64([b"a", b"\xff"])}}
    request = {"folder": str(export), "probes": probes, "expected": {"serving_default": outputs}}
    check_saved_model.main(io.StringIO(json.dumps(request)))


def test_equal_answers_pass_the_check(export):
    check(export, loud=in_base64([b"A", b"\xff"]), weight=[2.0, 2.00001], id=[7, -1])


@pytest.mark.parametrize(
    "outputs", [{"weight": [2.0, 2.001]}, {"id": [7, 7]}, {"loud": in_base64([b"A", b"A"])}]
)
def test_another_answer_fails_the_check_with_the_name_of_the_output(export, outputs):
    with pytest.raises(SystemExit, match=f"{next(iter(outputs))}: expected"):
        check(export, **outputs)


def test_an_output_that_is_missing_fails_the_check(export):
    with pytest.raises(KeyError, match="score"):
        check(export, score=[1.0, 2.0])
