"""Facts about what a training tells."""

import json

import keras
import numpy as np
import tensorflow as tf

from common import telling
from common.optimizers import make_optimizer
from common.runs import RunDirectory


def test_events_and_scalars_tell_each_epoch_and_a_second_start_goes_on(tmp_path, caplog):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    rate = {"schedule": "cosine", "warmup_steps": 0, "total_steps": 8}
    model.compile(make_optimizer(0.1, **rate, clip_norm=5.0, average=0.0), "mse")
    tells = telling.Telling(
        RunDirectory(tmp_path), name="model", num_examples=8, num_batches=2, unit="rows"
    )
    given = {"batch_size": 4, "callbacks": [tells], "verbose": 0}
    with caplog.at_level("INFO", logger="cellstate"):
        model.fit(np.ones((8, 2)), np.ones(8), epochs=1, **given)
        model.fit(np.ones((8, 2)), np.ones(8), initial_epoch=1, epochs=3, **given)

    lines = (tmp_path / "log" / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events] == [
        *("begin", "epoch", "end"),
        *("begin", "epoch", "epoch", "end"),
    ]
    epochs = [event for event in events if event["event"] == "epoch"]
    assert [event["epoch"] for event in epochs] == [1, 2, 3]
    expected = [0.1 * 0.5 * (1 + np.cos(np.pi * step / 8)) for step in (2, 4, 6)]
    np.testing.assert_allclose([one["learning_rate"] for one in epochs], expected, rtol=1e-5)
    assert all(one["gradient_norm"] > 0 and one["examples_per_second"] > 0 for one in epochs)
    assert caplog.text.count("rows/s") == 3

    scalars = [
        (event.step, value.tag, float(tf.make_ndarray(value.tensor)))
        for path in sorted((tmp_path / "log" / "tensorboard" / "model").glob("events*"))
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    ]
    losses = {step: value for step, tag, value in scalars if tag == "loss"}
    np.testing.assert_allclose(
        [losses[one["epoch"]] for one in epochs], [one["loss"] for one in epochs]
    )
