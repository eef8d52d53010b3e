"""A saved model says what it needs; classes keep the name of older files."""

import subprocess
import sys

import keras
import pytest

from common.layers import recurrent
from common.runs.registration import registered
from common.training.strategies import Model

LOAD = "import sys, keras; keras.saving.load_model(sys.argv[1], safe_mode=True)"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    inputs = keras.Input((None, 2))
    outputs = recurrent.Bidirectional(recurrent.LSTM(3))(inputs)
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    keras.Model(inputs, outputs).save(path)
    return path


def test_the_error_of_keras_names_the_import(saved):
    done = subprocess.run(
        [sys.executable, "-c", LOAD, saved], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "first `import common.layers`" in done.stderr


def test_after_that_import_it_loads(saved):
    command = [sys.executable, "-c", f"import common.layers; {LOAD}", saved]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("kind", [recurrent.LSTM, recurrent.Bidirectional, Model])
def test_files_of_before_find_their_class(kind):
    assert keras.saving.get_registered_object(f"cellstate>{kind.__name__}") is kind


def test_a_class_is_found_under_both_names():
    @registered("some.module")
    class Kept(keras.layers.Layer):
        pass

    name = keras.saving.get_registered_name(Kept)
    assert name == "cellstate, first `import some.module`>Kept"
    assert keras.saving.get_registered_object(name) is Kept
    assert keras.saving.get_registered_object("cellstate>Kept") is Kept
