"""Facts about batches from a tf.data service: a dispatcher and two workers in a process."""

import importlib
import signal
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from apps.phoneme_tagging import config as phoneme_tagging
from common.inputs import pipeline
from common.runs.errors import UserError
from common.scaling import launcher, service_batches

ROOT = Path(__file__).parents[3]
NUM_EXAMPLES, NUM_BATCHES = 23, 8
BUCKETS = pipeline.Buckets((2, 4), (5, 4, 2))


@pytest.fixture(scope="module")
def address():
    """Of a service with two workers."""
    [port] = launcher.free_ports(1)
    command = [sys.executable, "-m", "common.scaling.data_service", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as serving:
        try:
            assert serving.stdout is not None
            yield serving.stdout.readline().split()[-1]
        finally:
            serving.send_signal(signal.SIGTERM)
            assert serving.wait(60) == 0


def batches(service: service_batches.Service | None, *, first_epoch: int = 0) -> list[dict]:
    """Two epochs of sequences of 1 to 6 numbers that are changed each time."""
    words = tf.lookup.KeyValueTensorInitializer(["odd", "even"], tf.constant([1, 2], tf.int64))
    table = tf.lookup.StaticHashTable(words, 0)

    def example(place: tf.Tensor) -> dict:
        numbers = tf.range(1 + place % 6)
        return {"place": place, "numbers": numbers, "word": tf.where(place % 2 > 0, "odd", "even")}

    def change(example: dict, seed: tf.Tensor) -> dict:
        noise = tf.random.stateless_uniform(tf.shape(example["numbers"]), seed)
        return {**example, "noise": noise, "word": table.lookup(example["word"])}

    made = pipeline.training_batches(
        tf.data.Dataset.range(NUM_EXAMPLES).map(example),
        buckets=BUCKETS,
        length=lambda example: tf.size(example["numbers"]),
        seed=3,
        first_epoch=first_epoch,
        change=change,
        service=service,
    )
    return list(made.take(2 * NUM_BATCHES).as_numpy_iterator())


def equal(batches: list[dict], others: list[dict]) -> bool:
    return all(
        a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
        for a, b in zip(batches, others, strict=True)
    )


def test_a_service_gives_the_same_batches_in_the_same_order(address):
    service = service_batches.connect(address)
    assert service is not None and len(service.workers) == 2
    made = batches(service, first_epoch=4)
    assert equal(made, batches(None, first_epoch=4))
    for epoch in (made[:NUM_BATCHES], made[NUM_BATCHES:]):
        places = Counter(int(place) for batch in epoch for place in batch["place"])
        assert places == Counter(range(NUM_EXAMPLES))


def test_each_of_two_trainings_gets_every_batch(address):
    first, second = (service_batches.connect(address) for _ in range(2))
    assert equal(batches(first), batches(second))


def test_a_worker_that_began_anew_is_noticed():
    numbered = tf.data.Dataset.from_tensor_slices(tf.constant([0, 1, 0], tf.int64))
    pairs = tf.data.Dataset.zip(
        tf.data.Dataset.counter(), numbered.map(lambda number: (number, number))
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="--resume"):
        list(pairs.map(service_batches._checked))


OPTIONS: dict[str, dict] = {
    "answer_selection": {"batch_size": 16, "candidates_per_question": 4},
    "phoneme_tagging": {
        "model": phoneme_tagging.TINY.model,
        "augment": phoneme_tagging.AugmentConfig(speed=0.1),
        "batch_size": 8,
    },
    "visual_qa": {"image_size": 16, "batch_size": 16, "questions_per_image": 4},
}


@pytest.mark.parametrize("app", OPTIONS)
def test_an_app_gets_the_same_batches_from_a_service(app, address, cache_dir):
    make = importlib.import_module(f"apps.{app}.data").make_training_data
    tiny = importlib.import_module(f"apps.{app}.config").TINY.data

    data = make(replace(tiny, cache_dir=cache_dir, service=address), **OPTIONS[app])
    from_service, expected = (
        list(source.batches(seed=1, first_epoch=1).take(4).as_numpy_iterator())
        for source in (data, data._replace(service=None))
    )
    assert equal(from_service, expected)


def test_an_address_where_nothing_answers_is_a_users_error(monkeypatch):
    [port] = launcher.free_ports(1)
    with pytest.raises(UserError, match="nothing answers there"):
        service_batches.connect(f"grpc://127.0.0.1:{port}")
    with pytest.raises(UserError, match="expected grpc://host:port"):
        service_batches.connect("127.0.0.1:5050")
    monkeypatch.setattr(service_batches, "SECONDS", 0.5)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(UserError, match="none answered"):
            service_batches.connect(f"grpc://127.0.0.1:{mute.getsockname()[1]}")
