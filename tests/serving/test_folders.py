"""Folders of models that are whole in another way, incomplete, damaged, or become whole later."""

import os
import shutil
import time
from pathlib import Path

import pytest
import tensorflow as tf

from serving import models
from tests.serving.conftest import serve

v1 = tf.compat.v1
INDEX, DATA = "variables/variables.index", "variables/variables.data-00000-of-00001"
# What is done to a whole folder, what is said of it.
INCOMPLETE = {
    "empty": (lambda path: empty(path), "has no saved_model.pb"),
    "no_graph": (lambda path: (path / "saved_model.pb").unlink(), "has no saved_model.pb"),
    "graph_alone": (lambda path: shutil.rmtree(path / "variables"), f"has no {INDEX}"),
    "no_index": (lambda path: (path / INDEX).unlink(), f"has no {INDEX}"),
    "no_data": (lambda path: (path / DATA).unlink(), f"has no {DATA}"),
    "first_of_two": (
        lambda path: (path / DATA).rename(path / DATA.replace("1", "2")),
        "has no variables/variables.data-00001-of-00002",
    ),
    "second_of_two": (
        lambda path: (path / DATA).rename(path / "variables/variables.data-00001-of-00002"),
        "has no variables/variables.data-00000-of-00002",
    ),
    "under_way": (lambda path: (path / DATA).rename(path / f"{DATA}.6eF3c2a1"), f"has no {DATA}"),
    "no_assets": (lambda path: shutil.rmtree(path / "assets"), "assets/words.txt"),
}
DAMAGED = {
    "cut_graph": (lambda path: os.truncate(path / "saved_model.pb", 900), "saved_model.pb cannot"),
    "no_graph_inside": (lambda path: os.truncate(path / "saved_model.pb", 0), 'tagged "serve"'),
    "cut_index": (lambda path: os.truncate(path / INDEX, 20), "its variables are cut short"),
    "cut_data": (lambda path: os.truncate(path / DATA, 8), "its variables are cut short"),
    "card": (lambda path: write_card(path, "{"), "Expecting property name"),
}


def empty(path):
    shutil.rmtree(path)
    path.mkdir()


def write_card(path, text):
    (path / "assets.extra").mkdir()
    (path / "assets.extra" / "card.json").write_text(text)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A SavedModel with a variable and an asset: the numbers of words, plus ten."""
    path = tmp_path_factory.mktemp("whole")
    (path / "words.txt").write_text("a\nb\n")

    class Words(tf.Module):
        def __init__(self):
            super().__init__()
            file = tf.lookup.TextFileInitializer(
                str(path / "words.txt"),
                *(tf.string, tf.lookup.TextFileIndex.WHOLE_LINE),
                *(tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER),
            )
            self.table = tf.lookup.StaticVocabularyTable(file, 1)
            self.ten = tf.Variable(10, dtype=tf.int64)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="x")])
        def __call__(self, x):
            return {"y": self.table.lookup(x) + self.ten}

    words = Words()
    tf.saved_model.save(words, str(path / "model"), signatures=words.__call__)
    return path / "model"


def copied(whole, path, damage):
    shutil.copytree(whole, path)
    damage(path)
    return path


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def ask(client, name):
    answer = client.post(f"/v1/models/{name}:predict", json={"instances": ["b"]})
    return answer.status_code, answer.json().get("predictions", answer.json())


def states(client, name):
    answer = client.get(f"/v1/models/{name}").json()
    return [
        (state["version"], state["state"], state["status"])
        for state in answer.get("model_version_status", [])
    ]


def test_what_a_folder_lacks_is_logged_and_said_and_it_is_loaded_once_it_is_whole(
    whole, tmp_path, caplog
):
    for name, (damage, _) in INCOMPLETE.items():
        copied(whole, tmp_path / name / "1", damage)
    copied(whole, tmp_path / "unversioned", INCOMPLETE["no_data"][0])
    expected = {name: reason for name, (_, reason) in INCOMPLETE.items()}
    expected["unversioned"] = INCOMPLETE["no_data"][1]
    folders = {name: tmp_path / name for name in expected}
    with serve(folders, ready=False) as client:
        wait_for(lambda: all("END" in str(states(client, name)) for name in folders))
        readiness = client.get("/readyz")
        assert (readiness.status_code, readiness.headers["Retry-After"]) == (503, "1")
        for name, reason in expected.items():
            ((number, state, status),) = states(client, name)
            assert (number, state, status["error_code"]) == ("1", "END", "UNKNOWN")
            assert reason in status["error_message"]
            assert str(tmp_path) not in status["error_message"]
            waits = f"Model {name} waits: version 1 {status['error_message']}"
            assert waits in readiness.json()["error"]
            assert ask(client, name)[0] == 503
            lines = [line for line in caplog.messages if line.startswith(f"{name}: ")]
            assert len(lines) == 1 and reason in lines[0] and str(folders[name]) in lines[0]
        assert client.serving.failure is None
        for name in folders:
            inside = folders[name] if name == "unversioned" else folders[name] / "1"
            shutil.rmtree(inside / "variables", ignore_errors=True)
            shutil.copytree(whole, inside, dirs_exist_ok=True)
        wait_for(lambda: client.get("/readyz").status_code == 200)
        for name in folders:
            assert ask(client, name) == (200, [11])
            assert states(client, name) == [
                ("1", "AVAILABLE", {"error_code": "OK", "error_message": ""})
            ]


@pytest.mark.parametrize("name", DAMAGED)
def test_an_older_version_answers_where_the_newest_is_damaged(whole, tmp_path, name):
    damage, reason = DAMAGED[name]
    shutil.copytree(whole, tmp_path / "1")
    copied(whole, tmp_path / "2", damage)
    with serve({"m": tmp_path}) as client:
        assert ask(client, "m") == (200, [11])
        newest, older = states(client, "m")
        assert (newest[0], newest[1], older[:2]) == ("2", "END", ("1", "AVAILABLE"))
        assert reason in newest[2]["error_message"]
        assert client.serving.failure is None


def test_what_answers_goes_on_when_its_files_are_gone(whole, tmp_path):
    for number in "12":
        shutil.copytree(whole, tmp_path / number)
    with serve({"m": tmp_path}) as client:
        (tmp_path / "2" / "saved_model.pb").unlink()
        model = client.serving.models["m"]
        wait_for(lambda: model._seen and model._seen[1])
        time.sleep(0.3)  # some looks
        assert model.version.number == 2
        assert states(client, "m")[0][:2] == ("2", "AVAILABLE")
        shutil.rmtree(tmp_path / "2")
        wait_for(lambda: model.version.number == 1)


def test_a_folder_without_a_version_is_told(whole, tmp_path):
    with serve({"m": tmp_path}, ready=False) as client:
        assert client.get("/v1/models/m").status_code in (404, 200)
        wait_for(lambda: "version 1 has no saved_model.pb" in client.get("/readyz").text)
        shutil.copytree(whole, tmp_path / "3")
        wait_for(lambda: ask(client, "m") == (200, [11]))


def graph(path, *, variable, tags=("serve",), others=()):
    """A SavedModel of TensorFlow 1: twice its input."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None])
        two = v1.get_variable("two", initializer=2.0) if variable else tf.constant(2.0)
        session.run(v1.global_variables_initializer())
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": x * two})
        builder = v1.saved_model.Builder(str(path))
        signatures = {"serving_default": signature}
        builder.add_meta_graph_and_variables(session, list(tags), signature_def_map=signatures)
        for other in others:
            builder.add_meta_graph(list(other))
        builder.save()


@pytest.mark.filterwarnings("ignore")
def test_savedmodels_of_other_writers_answer(tmp_path):
    kinds = {
        "constant": {"variable": False},
        "variable": {"variable": True},
        "trained": {"variable": True, "others": [("train",)]},
        "tagged": {"variable": True, "tags": ("serve", "gpu")},
    }
    for name, kind in kinds.items():
        graph(tmp_path / name / "1", **kind)
    assert not (tmp_path / "constant" / "1" / "variables" / "variables.index").exists()
    with serve({name: tmp_path / name for name in kinds}) as client:
        for name in kinds:
            answer = client.post(f"/v1/models/{name}:predict", json={"instances": [1.5]})
            assert answer.json() == {"predictions": [3.0]}, name
    (tmp_path / "variable" / "1" / "variables" / "variables.index").unlink()
    assert models.lacks(tmp_path / "variable" / "1") == "has no variables/variables.index"


def test_what_cannot_be_read_is_said(whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "1")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "words.txt")
    assert models.survey(tmp_path)[1][1][0] == "cannot be read: assets/words.txt"
    monkeypatch.undo()
    assert models.survey(tmp_path)[0].number == 1


@pytest.mark.parametrize("name", ["1.5", "-1", "1 ", "x1", "\u0661", "9" * 30, "0x1", ""])
def test_other_names_are_no_versions(whole, tmp_path, name):
    if name:
        shutil.copytree(whole, tmp_path / name)
    (tmp_path / "7").touch()
    assert models.survey(tmp_path)[0] is None


def test_a_folder_in_which_nobody_may_look_is_said(tmp_path, monkeypatch):
    stat = os.stat

    def refused(path, *arguments, **options):
        if str(path).startswith(str(tmp_path / "m")):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", refused)
    candidate, others = models.survey(tmp_path / "m")
    assert candidate is None
    assert others[1][0] == "cannot be read: [Errno 13] Permission denied: '.'"
