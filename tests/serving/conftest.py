"""A small SavedModel of every kind of signature, and a server that answers with it."""

import contextlib
import json
import threading
import time

import httpx
import pytest
import tensorflow as tf
import uvicorn

from common.export import card
from serving.options import Limits, Settings
from serving.server import Protocol, Serving, create_app

SAMPLES = tf.TensorSpec([None, None], tf.float32, name="waveform")
IMAGE = tf.TensorSpec([None], tf.string, name="image")
TEXT = tf.TensorSpec([None], tf.string, name="text")
IMAGES = card.image("batch", max_pixels=10_000)
TEXTS = card.text("batch")
CARD = {
    "task": "everything at once",  # no tab of the page knows it
    "inputs": {
        "waveform": card.numbers("float32", "batch", "samples", sample_rate=16_000, min_samples=1),
        "num_samples": card.numbers("int32", "batch", description="real samples of each row"),
    },
    "outputs": {
        "scaled": card.numbers("float32", "batch", "frames", description="times the factor"),
        "total": card.numbers("float32", "batch"),
        "start_s": card.numbers("float32", "frames", description="seconds"),
    },
    "signatures": {
        "picture": {
            "inputs": {"image": IMAGES},
            "outputs": {"size": card.numbers("int32", "batch", 2)},
        },
        "echo": {"inputs": {"text": TEXTS}, "outputs": {"text_bytes": TEXTS}},
        "rank": {
            "inputs": {"question": card.text(), "candidates": card.text("candidates")},
            "outputs": {"order": card.numbers("int32", "candidates")},
        },
        "look": {
            "inputs": {"image": IMAGES, "text": TEXTS},
            "outputs": {
                "loud": TEXTS,
                "length": card.numbers("float32", "batch"),
                "letters": card.text("batch", "time"),
                "share": card.numbers("float32", "batch", "time"),
                "attention": card.numbers("float32", "batch", "time", "rows", "columns"),
                "alignment": card.numbers("float32", "batch", "time", 2),
            },
        },
    },
}


class Everything(tf.Module):
    """Scales waveforms, measures images, repeats texts, ranks by length, counts slowly."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = tf.Variable(factor)

    @tf.function(input_signature=[SAMPLES, tf.TensorSpec([None], tf.int32, name="num_samples")])
    def __call__(self, waveform, num_samples):
        mask = tf.sequence_mask(num_samples, tf.shape(waveform)[1], tf.float32)
        scaled = waveform * mask * self.factor
        start_s = tf.range(tf.shape(waveform)[1], dtype=tf.float32) / 16000.0
        return {"scaled": scaled, "total": tf.reduce_sum(scaled, 1), "start_s": start_s}

    @tf.function(input_signature=[IMAGE])
    def picture(self, image):
        def measure(encoded):
            return tf.shape(tf.io.decode_image(encoded, channels=3, expand_animations=False))[:2]

        return {"size": tf.map_fn(measure, image, tf.TensorSpec([2], tf.int32))}

    @tf.function(input_signature=[TEXT])
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

    @tf.function(input_signature=[IMAGE, TEXT])
    def look(self, image, text):
        """The letters of each text; each looks at all of the image but for the first row."""
        letters = tf.strings.unicode_split(text, "UTF-8").to_tensor()
        real = tf.cast(letters != "", tf.float32)
        return {
            "loud": tf.strings.upper(text),
            "length": tf.reduce_sum(real, 1) + 0.0 * tf.cast(tf.size(image), tf.float32),
            "letters": letters,
            "share": real / 3.0,
            "attention": real[:, :, None, None] * tf.constant([[0.0, 0.0], [0.5, 0.5]]),
            "alignment": real[:, :, None] * tf.constant([0.25, 0.75]),
        }

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32, name="steps")])
    def slow(self, steps):
        count = tf.while_loop(lambda i: i < steps, lambda i: [i + 1], [0])[0]
        return {"logarithm": tf.math.log(tf.cast(count, tf.float32) - 1.0), "count": count}


@pytest.fixture(scope="session")
def make_model():
    """`make_model(path, factor)`: writes the SavedModel."""

    def make(path, factor=2.0):
        module = Everything(factor)
        calls = {
            name: getattr(module, name) for name in ("picture", "echo", "rank", "look", "slow")
        }
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
def serve(folders, limits=None, token=None, *, origins=(), ready=True, **settings):
    """A client of a server on a free port, in a thread of this process.

    With `ready` as False, as soon as it answers at all.
    """
    serving = Serving(folders, limits or Limits(), Settings(**{"poll_s": 0.05, **settings}))
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(serving, token, origins), port=0, log_config=None, ws="none", http=Protocol
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not (server.started and (serving.ready or not ready)):
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
