"""Versions on disk: which are loaded, when, and what becomes of the old ones."""

import asyncio
import gc
import os
import shutil
import threading
import time
import weakref

import pytest

from serving import models
from serving.limits import check, image_size
from serving.options import Limits, Settings
from serving.probes import inputs
from serving.server import Serving
from tests.serving.conftest import serve

DOCUMENT = {"inputs": {"waveform": [[1.0]], "num_samples": [1]}}


@pytest.fixture(scope="module")
def other_model(make_model, tmp_path_factory):
    """The model with the factor 3."""
    return make_model(tmp_path_factory.mktemp("other") / "model", 3.0)


def test_the_newest_whole_version_is_found(saved_model, tmp_path):
    assert models.look(saved_model).number == 1
    assert models.look(tmp_path) is None
    for name in ("2", "10", "11.part", "x"):
        shutil.copytree(saved_model, tmp_path / name)
    assert models.look(tmp_path).number == 10
    (tmp_path / "10" / "variables" / "variables.index").unlink()
    assert models.look(tmp_path).number == 2


@pytest.mark.parametrize(
    "missing",
    ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"],
)
def test_a_version_without_a_part_is_not_whole(saved_model, tmp_path, missing):
    shutil.copytree(saved_model, tmp_path / "1")
    assert models.is_whole(tmp_path / "1")
    (tmp_path / "1" / missing).unlink()
    assert not models.is_whole(tmp_path / "1")


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
        for one in clients:
            one.start()
        # Half a version first: its variables are cut short, so that TensorFlow cannot read them.
        shutil.copytree(other_model, tmp_path / "2")
        os.truncate(tmp_path / "2" / "variables" / "variables.data-00000-of-00001", 8)
        wait_for(lambda: client.serving.models["m"].states.get(2, ("",))[0] == "END")
        assert ask(client) == (200, [2.0])
        shutil.copytree(other_model, tmp_path / "3.part")
        (tmp_path / "3.part").rename(tmp_path / "3")
        wait_for(lambda: ask(client) == (200, [3.0]))
        done.set()
        for one in clients:
            one.join()
        assert {answer[0] for answer in answers} == {200}
        totals = [answer[1][0] for answer in answers]
        assert set(totals) == {2.0, 3.0}
        states = client.get("/v1/models/m").json()["model_version_status"]
        wait_for(lambda: client.serving.models["m"].states[1][0] == "END")
        assert [(one["version"], one["state"]) for one in states][:2] == [
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


def test_a_model_that_cannot_be_loaded_at_the_start_is_told(saved_model, tmp_path):
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


def test_the_signatures_of_an_export_are_understood(tiny_export):
    path = tiny_export("visual_qa")
    card = models.read_card(path)
    signatures = models.read_signatures(models.read_meta_graph(path), card)
    signature = signatures["serving_default"]
    assert signature.batchable
    given = inputs(signature)
    assert image_size(given["image"][0]) == ("PNG", 1, 1)
    assert check(signature, given, Limits())[0] == 1
    with serve({"m": path}) as client:
        version = client.serving.models["m"].version
        outputs = version.batchers["serving_default"].call(given)
        for name, field in signature.outputs.items():
            assert outputs[name].ndim == len(field.dims), name


def test_every_signature_runs_before_the_first_request(tiny_export, caplog):
    with caplog.at_level("INFO"), serve({"m": tiny_export("phoneme_tagging")}):
        pass
    assert "m: version 1 answers after" in caplog.text
    assert "not warmed up" not in caplog.text
