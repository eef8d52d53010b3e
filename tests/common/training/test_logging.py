"""Facts about the log of a training."""

import json
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.runs.directory import RunDirectory
from common.runs.errors import UserError
from common.training import strategies
from common.training.logging import TrainingLog
from common.training.optimizers import make_optimizer


def test_events_and_scalars_have_each_epoch_and_a_second_start_continues_them(tmp_path, caplog):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    rate = {"schedule": "cosine", "warmup_steps": 0, "total_steps": 8}
    model.compile(make_optimizer(0.1, **rate, clip_norm=5.0, average=0.0), "mse")
    log = TrainingLog(
        RunDirectory(tmp_path), name="model", num_examples=8, num_batches=2, unit="rows"
    )
    options = {"batch_size": 4, "callbacks": [log], "verbose": 0}
    with caplog.at_level("INFO", logger="cellstate"):
        model.fit(np.ones((8, 2)), np.ones(8), epochs=1, **options)
        model.fit(np.ones((8, 2)), np.ones(8), initial_epoch=1, epochs=3, **options)

    lines = (tmp_path / "log" / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
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


def fit(
    path, batches, *, steps: int, epochs: int = 1, validation=None, callbacks=(), **options
) -> list[dict]:
    """Trains a model of a mask and its mean; the rows of its epochs."""
    mask = keras.Input((None,), dtype="bool", name="mask")
    share = keras.layers.Lambda(lambda m: keras.ops.mean(keras.ops.cast(m, "float32"), 1)[:, None])
    model = strategies.Model({"mask": mask}, keras.layers.Dense(2)(share(mask)))
    model.compile(
        "sgd",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=["accuracy"],
    )
    sizes = {"num_examples": 2 * steps, "num_batches": steps}
    log = TrainingLog(RunDirectory(path), name="model", unit="rows", **sizes, **options)
    model.fit(
        log.watch(batches.repeat()),
        steps_per_epoch=steps,
        epochs=epochs,
        validation_data=validation,
        shuffle=False,
        callbacks=[*callbacks, log],
        verbose=0,
    )
    lines = (path / "log" / "events.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["event"] == "epoch"]


def masks(*lengths: tuple[int, int]) -> tf.data.Dataset:
    """Batches of two masks of these lengths, padded."""
    pairs = tf.data.Dataset.from_generator(
        lambda: iter(np.array(lengths, np.int32)), output_signature=tf.TensorSpec((2,), tf.int32)
    )
    known = pairs.apply(tf.data.experimental.assert_cardinality(len(lengths)))
    return known.map(
        lambda pair: ({"mask": tf.sequence_mask(pair)}, tf.zeros(2, tf.int32), tf.ones(2))
    )


def test_each_epoch_has_its_share_of_padding_and_the_step_is_traced_once(tmp_path):
    batches = masks((1, 4), (2, 2), (5, 10))  # 5 of 8 steps are real, 4 of 4, 15 of 20
    rows = fit(tmp_path, batches, steps=3, epochs=2, validation=masks((1, 3)))
    for row in rows:
        assert row["padding_ratio"] == pytest.approx(1 - 24 / 32)
        assert row["tokens_per_second"] == pytest.approx(24 / 6 * row["examples_per_second"])
        assert row["traces"] == 1


@pytest.mark.parametrize("slow", [True, False])
def test_the_share_of_waiting_is_logged(tmp_path, slow):
    def take(example, *rest):
        time.sleep(0.1)
        return np.int32(0)

    def slowed(inputs, *rest):
        with tf.control_dependencies([tf.numpy_function(take, [inputs["mask"]], tf.int32)]):
            return tf.nest.map_structure(tf.identity, (inputs, *rest))

    batches = masks((1, 4), (2, 2))
    slow_step = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: time.sleep(0.06)
    )
    row = (
        fit(tmp_path, batches.map(slowed), steps=6, epochs=2)[1]
        if slow
        else fit(tmp_path, batches, steps=6, epochs=2, callbacks=[slow_step])[1]
    )
    assert (row["waiting_share"] > 0.5) == slow


def test_an_example_that_cannot_be_shown_does_not_end_the_training(tmp_path, caplog, monkeypatch):
    def broken(folder):
        raise UserError("expected a question")

    monkeypatch.setattr(TrainingLog, "SAMPLES_EVERY_S", 0.0)
    rows = fit(tmp_path, masks((1, 4)), steps=1, epochs=2, make_samples=lambda: broken)
    assert len(rows) == 2
    assert caplog.text.count("no samples: expected a question") == 1


def test_a_model_that_always_predicts_the_same_is_warned_of(tmp_path, caplog):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    log = TrainingLog(
        RunDirectory(tmp_path), name="model", num_examples=8, num_batches=2, unit="rows"
    )
    log.set_model(model)
    log.set_params({"steps": 1})
    log.on_train_begin()
    for share in (0.4, 0.87):
        log.on_epoch_begin(0)
        log.on_train_batch_end(0, {"loss": 1.0})
        log.on_epoch_end(0, {"val_largest_share": share})
    assert caplog.text.count("are equal") == 1
    assert "87% of the predictions on validation" in caplog.text
