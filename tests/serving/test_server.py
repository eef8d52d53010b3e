"""The server over HTTP, with the small model of conftest.py."""

import base64
import itertools
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from benchmarks.hostile_requests import png, requests
from serving import wire
from serving.options import Limits
from tests.serving.conftest import serve

PICTURE = {"b64": base64.b64encode(png(3, 2)).decode()}
GIF = base64.b64encode(b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;").decode()
LARGE = {"b64": base64.b64encode(png(101, 100)).decode()}
GOOD = [
    {"inputs": {"waveform": [[0.1, -0.2]], "num_samples": [2]}},
    {"signature_name": "picture", "instances": [{"image": PICTURE}]},
    {"signature_name": "echo", "instances": ["what?", "é"]},
    {"signature_name": "rank", "inputs": {"question": "ab", "candidates": ["a", "abc", "ab"]}},
]


def ask(client, document, model="all"):
    return client.post(f"/v1/models/{model}:predict", json=document)


def test_every_signature_answers(client):
    answers = [ask(client, document).json() for document in GOOD]
    assert answers[0]["outputs"]["scaled"] == [[0.2, -0.4]]
    assert answers[1] == {"predictions": [[2, 3]]}
    texts = [base64.b64decode(text["b64"]).decode() for text in answers[2]["predictions"]]
    assert texts == ["what?", "é"]
    assert answers[3] == {"outputs": [2, 0, 1]}


def test_answers_under_load_are_those_alone(client):
    draw = np.random.default_rng(1)
    documents = []
    for size in draw.integers(1, 400, 60):
        samples = draw.normal(0, 0.1, int(size)).astype(np.float32).tolist()
        documents.append({"inputs": {"waveform": [samples], "num_samples": [int(size)]}})
    alone = [ask(client, document).json() for document in documents]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda document: ask(client, document).json(), documents))
    for answer, other in zip(alone, together, strict=True):
        for name, values in answer["outputs"].items():  # a sum may round by the zeros beside it
            np.testing.assert_allclose(other["outputs"][name], values, rtol=1e-5, atol=1e-6)
    assert [len(answer["outputs"]["start_s"]) for answer in alone] == [
        document["inputs"]["num_samples"][0] for document in documents
    ]


def test_what_the_card_calls_lengths_must_fit(client):
    for length in (3, -1):
        document = {"inputs": {"waveform": [[0.1, 0.2]], "num_samples": [length]}}
        assert "num_samples: expected at most the 2" in ask(client, document).json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v1/models/none", 404, "Could not find any versions of model none"),
        ("GET", "/v1/models/all/versions/7", 404, "Could not find version 7"),
        ("GET", "/v1/models/all/versions/7/metadata", 404, "Specific(all, 7)"),
        ("GET", "/v1/models/all/versions/x", 400, "Failed to convert version"),
        ("GET", "/v1/models", 400, "Malformed request: GET /v1/models"),
        ("DELETE", "/v1/models/all", 400, "Malformed request: DELETE"),
        ("POST", "/v1/models/all:classify", 400, "Malformed request"),
        ("POST", "/v1/models/all/versions/7:predict", 404, "Servable not found"),
        ("GET", "/other", 404, "Not Found"),
    ],
)
def test_what_is_not_there_is_told_as_tensorflow_serving_tells_it(
    client, method, path, status, message
):
    answer = client.request(method, path)
    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_states_signatures_and_requests_are_those_of_the_protos(client, saved_model):
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_pb2,
        predict_pb2,
    )

    status = json_format.ParseDict(
        client.get("/v1/models/all").json(), get_model_status_pb2.GetModelStatusResponse()
    ).model_version_status[0]
    assert (status.version, status.State.Name(status.state)) == (1, "AVAILABLE")

    answer = client.get("/v1/models/all/metadata").json()
    spec = json_format.ParseDict(answer["model_spec"], model_pb2.ModelSpec())
    assert (spec.name, spec.version.value) == ("all", 1)
    signatures = json_format.ParseDict(
        answer["metadata"]["signature_def"], get_model_metadata_pb2.SignatureDefMap()
    )
    saved = SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    stored = saved.meta_graphs[0].signature_def
    assert dict(signatures.signature_def) == dict(stored)

    for document in GOOD:  # what we read from JSON is a request by gRPC too
        version = client.serving.models["all"].version
        parsed = wire.parse(json.dumps(document).encode(), version.signatures)
        request = predict_pb2.PredictRequest(model_spec=spec)
        for name, values in parsed.inputs.items():
            info = stored[parsed.signature].inputs[name]
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values, info.dtype))
            shape = tf.TensorShape(request.inputs[name].tensor_shape)
            assert shape.is_compatible_with(tf.TensorShape(info.tensor_shape))


def test_health_metrics_and_page(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    ask(client, GOOD[0])
    figures = client.get("/metrics").text
    assert 'serving_model_version{model="all"} 1.0' in figures
    assert 'serving_requests_total{model="all",status="200"}' in figures
    assert "swagger-ui-bundle.js" in client.get("/docs").text
    assert len(client.get("/docs/static/swagger-ui-bundle.js").content) > 1e5
    assert "/v1/models/{name}:predict" in client.get("/openapi.json").json()["paths"]


def test_a_token_is_asked_for(saved_model):
    with serve({"all": saved_model}, token="secret") as client:
        refused = [client.get("/v1/models/all"), client.get("/metrics")]
        refused.append(client.get("/v1/models/all", headers={"Authorization": "Bearer secre"}))
        assert {answer.status_code for answer in refused} == {401}
        assert refused[0].headers["WWW-Authenticate"] == "Bearer"
        assert client.get("/readyz").status_code == 200
        client.headers["Authorization"] = "Bearer secret"
        assert ask(client, GOOD[0]).status_code == 200


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"signature_name": "echo", "instances": ["x" * 11]}, "at most 10 characters"),
        ({"signature_name": "echo", "instances": ["x"] * 9}, "at most 8 rows"),
        ({"signature_name": "echo", "instances": [{"b64": "/w=="}]}, "UTF-8"),
        ({"inputs": {"waveform": [[0.0] * 1601], "num_samples": [9]}}, "at most 0.1 s"),
        ({"signature_name": "picture", "inputs": [PICTURE] * 5}, "2.4e-05 megapixels"),
        ({"signature_name": "picture", "inputs": [{"b64": GIF}]}, "row 0 is GIF"),
        ({"signature_name": "picture", "inputs": ["<svg/>"]}, "expected JPEG, PNG, BMP; row 0"),
        ({"signature_name": "picture", "inputs": [LARGE]}, "at most 10000 pixels an image"),
    ],
)
def test_limits_are_named(limited, document, message):
    answer = ask(limited, document)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


@pytest.fixture(scope="module")
def limited(saved_model):
    limits = Limits(
        max_request_mib=0.05, max_rows=8, max_characters=10, max_audio_s=0.1,
        max_megapixels=0.000024, timeout_s=0.3,
    )  # fmt: skip
    with serve({"all": saved_model}, limits) as client:
        yield client


def test_large_compressed_and_slow_bodies_are_refused(limited):
    path = "/v1/models/all:predict"
    assert limited.post(path, content=bytes(60_000)).status_code == 413
    assert limited.post(path, content=iter([bytes(30_000)] * 2)).status_code == 413
    packed = limited.post(path, content=b"x", headers={"Content-Encoding": "br"})
    assert packed.status_code == 415
    with socket.create_connection((limited.base_url.host, limited.base_url.port)) as slow:
        slow.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{".encode())
        assert b" 408 " in slow.recv(100)
    assert ask(limited, {**GOOD[2]}).status_code == 200


def test_an_answer_that_takes_too_long_is_given_up(limited):
    document = {"signature_name": "slow", "inputs": {"steps": 400_000}}
    answer = ask(limited, document)
    assert (answer.status_code, answer.json()["error"]) == (504, "Timed out after 0.3 s")


def test_hostile_requests_are_answered_and_harm_nobody(client):
    expected = [ask(client, document).json() for document in GOOD]
    statuses = set()
    for number, hostile in enumerate(itertools.islice(requests({"all": GOOD}, seed=8), 600)):
        answer = client.request(
            hostile.method, hostile.path, headers=hostile.headers, content=hostile.body
        )
        statuses.add(answer.status_code)
        assert answer.status_code < 500, hostile
        if answer.text == "Invalid HTTP request received.":  # the parser of HTTP, before us
            assert answer.status_code == 400
        elif answer.status_code != 200 and hostile.method != "HEAD":
            assert set(answer.json()) == {"error"}
        if number % 50 == 0:
            assert [ask(client, document).json() for document in GOOD] == expected
    assert {200, 400, 404, 415} <= statuses
