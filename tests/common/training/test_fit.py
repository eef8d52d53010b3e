"""Facts about what a training writes, when it stops and how it continues."""

import contextlib
import csv
import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.config import (
    disable_op_determinism,
    is_op_determinism_enabled,
)

from common.inputs import pipeline
from common.runs.directory import RunDirectory
from common.runs.errors import UserError
from common.training import fit as training
from common.training.checkpoints import Checkpointing
from common.training.optimizers import make_optimizer
from common.training.options import Options

NUM_EXAMPLES, BATCH_SIZE, DIM = 24, 8, 4
RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(size=(NUM_EXAMPLES, DIM)).astype("float32")
TARGETS = (INPUTS.sum(axis=1) > 0).astype("int32")


def build_model(seed: int, *, average: float = 0.0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((DIM,))
    hidden = keras.layers.Dropout(0.4)(keras.layers.Dense(8, activation="tanh")(inputs))
    hidden = keras.layers.Dropout(0.2)(hidden)
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    model.compile(
        optimizer=make_optimizer(
            0.01, schedule="cosine", warmup_steps=2, total_steps=12, clip_norm=0.1, average=average
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def make_checkpointing(
    path, model, *, name="model", patience=100, keep="best", monitor="val_accuracy"
) -> Checkpointing:
    checkpointing = Checkpointing(
        RunDirectory(path), model, name=name, monitor=monitor, patience=patience, keep=keep
    )
    checkpointing.set_model(model)
    checkpointing.set_params({"steps": 1})
    checkpointing.restore(model)
    return checkpointing


def saved_steps(path) -> list[str]:
    return sorted(folder.name for folder in (path / "checkpoints" / "model").iterdir())


def number_of(model) -> float:
    """Which epoch `go_through` had marked the weights with."""
    return float(model.weights[0].numpy()[0, 0])


def go_through(checkpointing: Checkpointing, values: list[float]) -> Checkpointing:
    """Epochs that give these values of the metric, each with weights of its own."""
    for value in values:
        if checkpointing.model.stop_training:
            break
        epoch = checkpointing.first_epoch
        checkpointing.on_epoch_begin(epoch)
        checkpointing.model.weights[0].assign(np.full((DIM, 8), epoch + 1.0))
        checkpointing.model.optimizer.iterations.assign(epoch + 1)
        checkpointing.on_train_batch_end(0)
        checkpointing.on_epoch_end(epoch, {"loss": 0.5, "val_accuracy": value})
    return checkpointing


@pytest.fixture
def model():
    return build_model(seed=1)


@pytest.fixture
def checkpointing(tmp_path, model):
    return make_checkpointing(tmp_path, model)


# What is written


def test_each_epoch_has_a_row_in_the_history(checkpointing, tmp_path):
    go_through(checkpointing, [0.1, 0.3, 0.2])
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["loss"], row["val_accuracy"]) for row in rows] == [
        ("1", "0.5", "0.1"),
        ("2", "0.5", "0.3"),
        ("3", "0.5", "0.2"),
    ]
    assert all(float(row["train_seconds"]) >= 0 for row in rows)


@pytest.mark.parametrize(
    ("values", "best_epoch"),
    [([0.1, 0.3, 0.2], 2), ([0.1, 0.2, 0.3], 3), ([0.3, 0.2, 0.1], 1), ([0.2, 0.2], 1)],
)
def test_the_saved_model_is_that_of_the_best_epoch(checkpointing, tmp_path, values, best_epoch):
    go_through(checkpointing, values)
    assert number_of(RunDirectory(tmp_path).load_model()) == best_epoch


def test_a_second_model_in_a_run_has_its_own_file_and_leaves_the_history(tmp_path, model):
    go_through(make_checkpointing(tmp_path, model), [0.1])
    history = (tmp_path / "history.csv").read_text()
    go_through(make_checkpointing(tmp_path, build_model(seed=2), name="rival"), [0.9, 0.8])
    assert (tmp_path / "history.csv").read_text() == history
    assert number_of(RunDirectory(tmp_path).load_model("rival.keras")) == 1


def test_at_most_two_checkpoints_are_there(checkpointing, tmp_path):
    go_through(checkpointing, [0.1, 0.2, 0.3, 0.4])
    assert saved_steps(tmp_path) == ["3", "4"]


def test_the_best_value_is_that_of_all_epochs(checkpointing):
    assert go_through(checkpointing, [0.1, 0.3, 0.2]).best_value == 0.3


def test_before_the_first_epoch_every_value_is_better(checkpointing):
    assert checkpointing.best_value == float("-inf")
    assert not checkpointing.finished


# When it stops


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_training_stops_after_so_many_epochs_without_a_better_value(tmp_path, model, patience):
    checkpointing = make_checkpointing(tmp_path, model, patience=patience)
    go_through(checkpointing, [0.1, 0.5] + [0.5] * 10)
    assert checkpointing.first_epoch == 2 + patience


def test_a_better_value_gives_new_patience(tmp_path, model):
    checkpointing = go_through(
        make_checkpointing(tmp_path, model, patience=2), [0.3, 0.1, 0.4, 0.1]
    )
    assert not checkpointing.finished


def test_a_training_that_had_finished_is_finished_when_resumed(tmp_path, model):
    go_through(make_checkpointing(tmp_path, model, patience=1), [0.5] * 5)
    assert make_checkpointing(tmp_path, build_model(seed=2), patience=1).finished


@pytest.mark.parametrize(("keep", "kept"), [("best", 2), ("last", 5)])
def test_the_epoch_to_keep_is_saved(tmp_path, model, keep, kept):
    values = [0.1, 0.5, 0.4, 0.5, 0.3]
    patience = 1 if keep == "last" else 100
    go_through(make_checkpointing(tmp_path, model, keep=keep, patience=patience), values)
    assert number_of(RunDirectory(tmp_path).load_model()) == kept


# How it continues


@pytest.fixture(scope="module")
def deterministic():
    tf.config.experimental.enable_op_determinism()
    yield
    disable_op_determinism()


class Killed(Exception):
    pass


class Kill(keras.callbacks.Callback):
    """Ends the training after so many steps of the optimizer, as a kill would."""

    def __init__(self, step: int):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == self.step:
            raise Killed


@pytest.fixture(scope="module")
def model_of_a_start(deterministic):
    """`model_of_a_start()`: a model before its first step; with `resumes`, of another process.

    That one has other numbers in every variable, so that all must come from the checkpoint. Both
    are one model, whose graphs are traced once.
    """
    model = build_model(seed=1, average=0.9)
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    first = [variable.numpy() for variable in variables]

    def start(*, resumes: bool = False) -> keras.Model:
        for variable, value in zip(variables, first, strict=True):
            variable.assign(value + int(resumes))
        return model

    return start


def fit(path, model, *, epochs: int = 4, kill_at: int = 0, minutes: float = 0.0) -> Checkpointing:
    training.seed_and_choose_strategy(Options(seed=3, deterministic=True, strategy="none"))
    checkpointing = Checkpointing(
        RunDirectory(path),
        model,
        name="model",
        monitor="val_accuracy",
        patience=100,
        minutes=minutes,
    )
    source = tf.data.Dataset.from_tensor_slices({"inputs": INPUTS, "targets": TARGETS})
    buckets = pipeline.equal_batches([], batch_size=BATCH_SIZE)

    def batches(epoch: int) -> tf.data.Dataset:
        shuffled = pipeline.training_batches(
            source, buckets=buckets, length=lambda _: 1, seed=3, first_epoch=epoch
        )
        return shuffled.map(lambda batch: (batch["inputs"], batch["targets"]))

    with contextlib.suppress(Killed):
        training.run_epochs(
            model,
            batches,
            checkpointing,
            steps_per_epoch=NUM_EXAMPLES // BATCH_SIZE,
            epochs=epochs,
            num_examples=NUM_EXAMPLES,
            unit="rows",
            validation_data=tf.data.Dataset.from_tensors((INPUTS, TARGETS)),
            callbacks=[Kill(kill_at)],
        )
    return checkpointing


def values_of(model) -> list[bytes]:
    return [v.numpy().tobytes() for v in (*model.weights, *model.optimizer.variables)]


def without_seconds(checkpointing: Checkpointing) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "train_seconds"} for row in checkpointing.history]


@pytest.fixture(scope="module")
def straight(tmp_path_factory, model_of_a_start):
    """History and values of the uninterrupted training."""
    model = model_of_a_start()
    checkpointing = fit(tmp_path_factory.mktemp("straight"), model)
    return without_seconds(checkpointing), values_of(model)


@pytest.mark.parametrize(
    ("minutes", "kills"),
    [
        (0.0, [2, 3, 5, 6, 12]),  # within epochs, at their ends, and twice in one
        (10.0, [5]),
    ],
)
def test_a_training_killed_at_any_steps_equals_the_uninterrupted_one_bit_for_bit(
    tmp_path, straight, model_of_a_start, minutes, kills
):
    for place, kill_at in enumerate(kills):
        fit(tmp_path, model_of_a_start(resumes=place > 0), kill_at=kill_at, minutes=minutes)
    model = model_of_a_start(resumes=True)
    if minutes == 0:
        model = build_model(seed=99, average=0.9)  # with nothing of before, its graphs neither
    checkpointing = fit(tmp_path, model, minutes=minutes)
    assert (without_seconds(checkpointing), values_of(model)) == straight


def test_what_is_validated_and_saved_is_the_average_of_the_weights(tmp_path, model_of_a_start):
    model = model_of_a_start()
    # The best epoch is the last: the averages are of it.
    checkpointing = fit(tmp_path, model, epochs=1)
    saved = RunDirectory(tmp_path).load_model()
    averages = model.optimizer._model_variables_moving_average
    for weight, average, trained in zip(saved.weights, averages, model.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), average.numpy())
        assert np.abs(weight.numpy() - trained.numpy()).max() > 0
    logits = saved.predict(INPUTS, verbose=0)
    right = np.mean(np.argmax(logits, axis=1) == TARGETS)
    np.testing.assert_allclose(checkpointing.history[-1]["val_accuracy"], right, rtol=1e-6)


def test_a_longer_training_goes_on_after_the_last_epoch(tmp_path, straight, model_of_a_start):
    fit(tmp_path, model_of_a_start(), epochs=2)
    model = model_of_a_start(resumes=True)
    checkpointing = fit(tmp_path, model)
    assert (without_seconds(checkpointing), values_of(model)) == straight


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_training_and_names_the_batch(
    checkpointing, tmp_path, loss
):
    go_through(checkpointing, [0.1])
    checkpointing.minutes = 0.0
    checkpointing.set_params({"steps": 5})
    checkpointing.on_epoch_begin(1)
    checkpointing.on_train_batch_end(0, {"loss": 0.5})
    checkpointing.model.optimizer.iterations.assign_add(1)
    with pytest.raises(UserError, match=f"got {loss} in batch 2 of epoch 2"):
        checkpointing.on_train_batch_end(1, {"loss": loss})
    assert saved_steps(tmp_path) == ["1"]


def test_a_resumed_training_keeps_an_older_better_model(tmp_path, model):
    go_through(make_checkpointing(tmp_path, model), [0.1, 0.9])
    go_through(make_checkpointing(tmp_path, build_model(seed=2)), [0.5])
    assert number_of(RunDirectory(tmp_path).load_model()) == 2


# Seeds


def test_a_seed_decides_what_python_numpy_and_tensorflow_draw():
    def draw() -> tuple:
        training.seed_and_choose_strategy(Options(seed=5, deterministic=False, strategy="none"))
        return random.random(), np.random.random(), float(tf.random.uniform([]))

    assert draw() == draw()


def test_the_precision_holds_inside_the_scope_alone():
    with training.scope(tf.distribute.get_strategy(), Options(precision="bfloat16")):
        inside = keras.layers.Dense(1)
        logits = keras.layers.Dense(1, dtype="float32")
    outside = keras.layers.Dense(1)
    assert (inside.compute_dtype, inside.variable_dtype) == ("bfloat16", "float32")
    assert (logits.compute_dtype, outside.compute_dtype) == ("float32", "float32")


def test_determinism_is_switched_on_by_option_only(deterministic):
    disable_op_determinism()
    training.seed_and_choose_strategy(Options(seed=1, deterministic=False, strategy="none"))
    without = is_op_determinism_enabled()
    training.seed_and_choose_strategy(Options(seed=1, deterministic=True, strategy="none"))
    assert (without, is_op_determinism_enabled()) == (False, True)
