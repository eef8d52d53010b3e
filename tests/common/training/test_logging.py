"""Facts about the log of a training."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.runs.directory import RunDirectory
from common.runs.errors import UserError
from common.training.logging import TrainingLog
from common.training.optimizers import make_optimizer


def fit(path, *epochs: tuple[int, int], **options) -> list[dict]:
    """Fits two batches an epoch, from a first epoch to a last one, for each pair; the events."""
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    rate = {"schedule": "cosine", "warmup_steps": 0, "total_steps": 8}
    model.compile(make_optimizer(0.1, **rate, clip_norm=5.0, average=0.0), "mse")
    sizes = {"num_examples": 8, "num_batches": 2}
    log = TrainingLog(RunDirectory(path), name="model", unit="rows", **sizes, **options)
    for first, last in epochs:
        model.fit(
            np.ones((8, 2)),
            np.ones(8),
            batch_size=4,
            initial_epoch=first,
            epochs=last,
            callbacks=[log],
            verbose=0,
        )
    lines = (path / "log" / "events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_events_and_scalars_have_each_epoch_and_a_second_start_continues_them(tmp_path, caplog):
    with caplog.at_level("INFO", logger="cellstate"):
        events = fit(tmp_path, (0, 1), (1, 3))
    assert [event["event"] for event in events] == [
        *("begin", "epoch", "end"),
        *("begin", "epoch", "epoch", "end"),
    ]
    epochs = [event for event in events if event["event"] == "epoch"]
    assert [event["epoch"] for event in epochs] == [1, 2, 3]
    expected = [0.1 * 0.5 * (1 + np.cos(np.pi * step / 8)) for step in (2, 4, 6)]
    np.testing.assert_allclose([epoch["learning_rate"] for epoch in epochs], expected, rtol=1e-5)
    assert all(e["gradient_norm"] > 0 and e["examples_per_second"] > 0 for e in epochs)
    assert caplog.text.count("rows/s") == 3

    scalars = [
        (event.step, value.tag, float(tf.make_ndarray(value.tensor)))
        for path in sorted((tmp_path / "log" / "tensorboard" / "model").glob("events*"))
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    ]
    losses = {step: value for step, tag, value in scalars if tag == "loss"}
    np.testing.assert_allclose(
        [losses[epoch["epoch"]] for epoch in epochs], [epoch["loss"] for epoch in epochs]
    )


def test_an_example_that_cannot_be_shown_does_not_end_the_training(tmp_path, caplog, monkeypatch):
    def broken(folder):
        raise UserError("expected a question")

    monkeypatch.setattr(TrainingLog, "SAMPLES_EVERY_S", 0.0)
    events = fit(tmp_path, (0, 2), make_samples=lambda: broken)
    assert events[-1]["event"] == "end"
    assert caplog.text.count("no samples: expected a question") == 1


@pytest.mark.parametrize(("share", "count"), [(0.4, 0), (0.87, 1)])
def test_a_model_that_always_predicts_the_same_is_warned_of(tmp_path, caplog, share, count):
    log = TrainingLog(
        RunDirectory(tmp_path), name="model", num_examples=8, num_batches=1, unit="rows"
    )
    log.set_model(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
    log.model.compile("sgd", "mse")
    log.set_params({"steps": 1})
    log.on_train_begin()
    log.on_epoch_begin(0)
    log.on_train_batch_end(0, {"loss": 1.0})
    log.on_epoch_end(0, {"val_largest_share": share})
    assert caplog.text.count("87% of the predictions on validation are equal") == count
