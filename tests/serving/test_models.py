"""Versions on disk: which are loaded, when, and what becomes of the old ones."""

import asyncio
import gc
import os
import shutil
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from serving import models
from serving.limits import check
from serving.options import Limits, Settings
from serving.probes import inputs
from serving.server import Serving
from serving.signatures import read_card, read_definitions, read_signatures
from tests.serving.conftest import serve

DOCUMENT = {"inputs": {"waveform": [[1.0]], "num_samples": [1]}}


@pytest.fixture(scope="module")
def other_model(make_model, tmp_path_factory):
    """The model with the factor 3."""
    return make_model(tmp_path_factory.mktemp("other") / "model", 3.0)


def test_the_newest_whole_version_is_found(saved_model, tmp_path):
    assert models.survey(saved_model)[0].number == 1
    assert models.survey(tmp_path)[0] is None
    for name in ("2", "10", "11.part", "x"):
        shutil.copytree(saved_model, tmp_path / name)
    assert models.survey(tmp_path)[0].number == 10
    (tmp_path / "10" / "variables" / "variables.index").unlink()
    assert models.survey(tmp_path)[0].number == 2


@pytest.mark.parametrize("name", ["run [1]", "a*", "b?", "c\\d", "e f", "#g%20"])
def test_a_model_is_loaded_from_a_folder_of_any_name(saved_model, tmp_path, name):
    shutil.copytree(saved_model, tmp_path / name)
    candidate, _ = models.survey(tmp_path / name)
    with ThreadPoolExecutor(1) as executor:
        version = models.Version("m", candidate, executor, max_batch=1, max_queue=1, workers=1)
        request = {"waveform": np.ones((1, 1), np.float32), "num_samples": np.ones(1, np.int32)}
        original = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
        expected = original(**{key: tf.constant(value) for key, value in request.items()})
        for key, value in version.batchers["serving_default"].call(request).items():
            np.testing.assert_array_equal(value, expected[key])


@pytest.mark.parametrize(
    "missing",
    ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"],
)
def test_a_version_without_a_part_is_not_whole(saved_model, tmp_path, missing):
    shutil.copytree(saved_model, tmp_path / "1")
    assert not models.lacks(tmp_path / "1")
    (tmp_path / "1" / missing).unlink()
    assert models.lacks(tmp_path / "1")


def test_a_version_that_still_changes_is_not_loaded(saved_model, tmp_path):
    shutil.copytree(saved_model, tmp_path / "1")
    model = models.Model("m", tmp_path)
    data = tmp_path / "1" / "variables" / "variables.data-00000-of-00001"
    for size in (10, 20):
        data.write_bytes(bytes(size))
        assert model.next() is None
    assert model.next().number == 1


def ask(client):
    answer = client.post("/v1/models/m:predict", json=DOCUMENT)
    return answer.status_code, answer.json().get("outputs", {}).get("total")


def test_versions_change_under_load_without_a_failed_request(saved_model, other_model, tmp_path):
    shutil.copytree(saved_model, tmp_path / "1")
    with serve({"m": tmp_path}) as client:
        old = weakref.ref(client.serving.models["m"].version)
        answers, done = [], threading.Event()

        def load():
            while not done.is_set():
                answers.append(ask(client))

        clients = [threading.Thread(target=load) for _ in range(4)]
        for thread in clients:
            thread.start()
        # Half a version first: its variables are cut short, so that TensorFlow cannot read them.
        shutil.copytree(other_model, tmp_path / "2")
        os.truncate(tmp_path / "2" / "variables" / "variables.data-00000-of-00001", 8)
        wait_for(lambda: client.serving.models["m"].states.get(2, ("",))[0] == "END")
        assert ask(client) == (200, [2.0])
        shutil.copytree(other_model, tmp_path / "3.part")
        (tmp_path / "3.part").rename(tmp_path / "3")
        wait_for(lambda: ask(client) == (200, [3.0]))
        done.set()
        for thread in clients:
            thread.join()
        assert {answer[0] for answer in answers} == {200}
        totals = [answer[1][0] for answer in answers]
        assert set(totals) == {2.0, 3.0}
        states = client.get("/v1/models/m").json()["model_version_status"]
        wait_for(lambda: client.serving.models["m"].states[1][0] == "END")
        assert [(state["version"], state["state"]) for state in states][:2] == [
            ("3", "AVAILABLE"),
            ("2", "END"),
        ]
        assert client.get("/v1/models/m/versions/1/metadata").status_code == 404
        wait_for(lambda: gc.collect() is not None and old() is None)


def test_a_folder_that_is_exported_again_is_loaded_again(saved_model, other_model, tmp_path):
    shutil.copytree(saved_model, tmp_path / "m")
    with serve({"m": tmp_path / "m"}) as client:
        assert ask(client) == (200, [2.0])
        (tmp_path / "m").rename(tmp_path / "old")
        shutil.copytree(other_model, tmp_path / "new")
        (tmp_path / "new").rename(tmp_path / "m")
        wait_for(lambda: ask(client) == (200, [3.0]))


def test_a_model_that_cannot_be_loaded_at_the_start_is_reported(saved_model, tmp_path):
    shutil.copytree(saved_model, tmp_path / "m")
    os.truncate(tmp_path / "m" / "saved_model.pb", 1000)
    serving = Serving({"m": tmp_path / "m"}, Limits(), Settings())

    async def watch():
        failed = asyncio.Event()
        serving.on_failure = failed.set
        watching = asyncio.create_task(serving.watch())
        await asyncio.wait_for(failed.wait(), 20)
        watching.cancel()

    asyncio.run(watch())
    assert "--model m: version 1" in serving.failure
    assert "saved_model.pb cannot be read" in serving.failure
    assert not serving.ready


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_every_signature_runs_before_the_first_request(saved_model, caplog):
    with caplog.at_level("INFO"), serve({"m": saved_model}) as client:
        version = client.serving.models["m"].version
    assert "m: version 1 answers after" in caplog.text
    assert "not warmed up" not in caplog.text
    for name, signature in version.signatures.items():
        probe = inputs(signature)
        assert check(signature, probe, Limits())[0] == 1 or name == "slow", name
        outputs = version.batchers[name].call(probe)
        for key, field in signature.outputs.items():
            assert outputs[key].ndim == len(field.shape), (name, key)


def test_the_card_decides_what_shares_a_batch(saved_model):
    signatures = read_signatures(read_definitions(saved_model), read_card(saved_model))
    joined = {name for name, signature in signatures.items() if signature.batchable}
    assert joined == {"serving_default", "picture", "echo", "look"}
    assert signatures["serving_default"].lengths == {"waveform": ("num_samples", 1)}
    assert list(signatures["look"].outputs)[:2] == ["loud", "length"]  # as the card has them


@pytest.mark.parametrize(
    "card",
    [
        {},
        {"task": "x", "inputs": {"waveform": "float32 (batch, samples) at 16 kHz"}},
        {"inputs": {"waveform": {"dims": ["batch"], "dtype": "float32"}}, "signatures": "none"},
    ],
)
def test_a_signature_that_no_card_describes_runs_every_request_alone(saved_model, card):
    signatures = read_signatures(read_definitions(saved_model), card)
    assert not any(signature.batchable for signature in signatures.values())
    field = signatures["serving_default"].inputs["waveform"]
    assert (field.dims, field.shape, field.dtype) == ((), (None, None), "float32")
    assert ("kHz" in field.description) == ("task" in card)


def test_types_that_numpy_does_not_have_are_void():
    tensor = {"dtype": "DT_RESOURCE", "tensor_shape": {"dim": [], "unknown_rank": True}}
    definition = {"method_name": "tensorflow/serving/predict", "outputs": {}}
    signatures = read_signatures({"x": {**definition, "inputs": {"y": tensor}}}, {})
    field = signatures["x"].inputs["y"]
    assert (field.dtype.kind, field.shape) == ("V", None)
