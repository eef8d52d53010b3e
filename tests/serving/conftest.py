"""A small SavedModel of every kind of signature, and a server that answers with it."""

import contextlib
import json
import threading
import time

import httpx
import pytest
import tensorflow as tf
import uvicorn

from serving.options import Limits, Settings
from serving.server import Serving, create_app

SAMPLES = tf.TensorSpec([None, None], tf.float32, name="waveform")
CARD = {
    "task": "test",
    "inputs": {
        "waveform": "float32 (batch, samples) in [-1, 1], 16 kHz",
        "num_samples": "int32 (batch,), what is real of each row",
    },
    "outputs": {
        "scaled": "float32 (batch, frames), every sample times the factor",
        "total": "float32 (batch,)",
        "start_s": "float32 (frames,), seconds",
    },
    "signatures": {
        "picture": "image string (batch,): JPEG, PNG or BMP bytes -> size int32 (batch, 2)",
        "echo": "text string (batch,): UTF-8 -> text_bytes string (batch,)",
        "rank": "question string (), candidates string (candidates,) -> order int32 (candidates,)",
    },
}


class Everything(tf.Module):
    """Scales waveforms, measures pictures, repeats texts, ranks by length, and counts slowly."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = tf.Variable(factor)

    @tf.function(input_signature=[SAMPLES, tf.TensorSpec([None], tf.int32, name="num_samples")])
    def __call__(self, waveform, num_samples):
        mask = tf.sequence_mask(num_samples, tf.shape(waveform)[1], tf.float32)
        scaled = waveform * mask * self.factor
        start_s = tf.range(tf.shape(waveform)[1], dtype=tf.float32) / 16000.0
        return {"scaled": scaled, "total": tf.reduce_sum(scaled, 1), "start_s": start_s}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
    def picture(self, image):
        def measure(one):
            return tf.shape(tf.io.decode_image(one, channels=3, expand_animations=False))[:2]

        return {"size": tf.map_fn(measure, image, tf.TensorSpec([2], tf.int32))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def echo(self, text):
        return {"text_bytes": tf.identity(text)}

    @tf.function(
        input_signature=[
            tf.TensorSpec([], tf.string, name="question"),
            tf.TensorSpec([None], tf.string, name="candidates"),
        ]
    )
    def rank(self, question, candidates):
        closeness = tf.abs(tf.strings.length(candidates) - tf.strings.length(question))
        return {"order": tf.argsort(closeness)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32, name="steps")])
    def slow(self, steps):
        count = tf.while_loop(lambda i: i < steps, lambda i: [i + 1], [0])[0]
        return {"logarithm": tf.math.log(tf.cast(count, tf.float32) - 1.0), "count": count}


@pytest.fixture(scope="session")
def make_model():
    """`make_model(path, factor)`: writes the SavedModel."""

    def make(path, factor=2.0):
        module = Everything(factor)
        calls = {name: getattr(module, name) for name in ("picture", "echo", "rank", "slow")}
        tf.saved_model.save(
            module, str(path), signatures={"serving_default": module.__call__, **calls}
        )
        (path / "assets.extra").mkdir()
        (path / "assets.extra" / "card.json").write_text(json.dumps(CARD))
        return path

    return make


@pytest.fixture(scope="session")
def saved_model(make_model, tmp_path_factory):
    """A SavedModel with the factor 2. Do not change it."""
    return make_model(tmp_path_factory.mktemp("serving") / "model", 2.0)


@contextlib.contextmanager
def serve(folders, limits=None, token=None, **settings):
    """A client of a server on a free port, in a thread of this process."""
    serving = Serving(folders, limits or Limits(), Settings(**{"poll_s": 0.05, **settings}))
    server = uvicorn.Server(
        uvicorn.Config(create_app(serving, token), port=0, log_config=None, ws="none")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not (server.started and serving.ready):
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        client.serving = serving
        yield client
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="session")
def client(saved_model):
    """A client of a server that serves the model as "all"."""
    with serve({"all": saved_model}) as client:
        yield client
