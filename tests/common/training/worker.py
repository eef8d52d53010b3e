"""Trains a small tagger through `training.fit`; test_strategies.py starts workers of it."""

import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from common.inputs import pipeline
from common.runs.directory import RunDirectory
from common.training import checkpoints, fit, losses, optimizers, strategies
from common.training.options import Options, StrategyName

NUM_EXAMPLES, BATCH_SIZE, TIME, DIM, CHOICES, EPOCHS = 22, 8, 6, 3, 4, 2


def examples() -> tf.data.Dataset:
    """Sequences of 1 to TIME steps: the parts of a batch have unequal numbers of real targets."""
    random = np.random.default_rng(0)
    lengths = random.integers(1, TIME + 1, NUM_EXAMPLES)
    real = np.arange(TIME) < lengths[:, None]
    return tf.data.Dataset.from_tensor_slices(
        (
            (random.normal(size=(NUM_EXAMPLES, TIME, DIM)).astype("float32"), real),
            random.integers(CHOICES, size=(NUM_EXAMPLES, TIME)).astype("int32"),
            real.astype("float32"),
        )
    )


def train(run_dir: Path, name: StrategyName, *, dies: Path | None = None) -> dict:
    """Trains; the weights. The second worker kills itself once, after its first epoch."""
    options = Options(strategy=name)
    strategy = fit.seed_and_choose_strategy(options)
    run = RunDirectory(run_dir, writes=strategies.is_chief(strategy))
    with fit.scope(strategy, options):
        inputs, mask = keras.Input((TIME, DIM)), keras.Input((TIME,), dtype="bool")
        hidden = keras.layers.Dense(5, activation="tanh")(inputs)
        hidden = hidden * keras.ops.cast(mask, "float32")[..., None]
        model = strategies.Model([inputs, mask], keras.layers.Dense(CHOICES)(hidden))
        model.compile(
            optimizers.make_optimizer(
                0.01,
                schedule="cosine",
                warmup_steps=2,
                total_steps=3 * EPOCHS,
                clip_norm=0.05,
                average=0.5,
            ),
            loss=losses.WeightedCrossEntropy(),
            weighted_metrics=["accuracy", losses.LargestShare(CHOICES)],
        )

    def begin(epoch, logs):
        if epoch == 1 and dies is not None and not run.writes and not dies.exists():
            dies.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def batches(epoch: int) -> tf.data.Dataset:
        return pipeline.training_batches(
            examples().map(lambda inputs, *parts: dict(enumerate((*inputs, *parts)))),
            buckets=pipeline.equal_batches((), batch_size=BATCH_SIZE),
            length=lambda example: tf.shape(example[0])[0],
            seed=1,
            first_epoch=epoch,
        ).map(lambda batch: ((batch[0], batch[1]), batch[2], batch[3]))

    fit.run_epochs(
        model,
        batches,
        checkpoints.Checkpointing(run, model, name="model", monitor="val_accuracy", patience=9),
        steps_per_epoch=3,  # of 8, 8 and 6 examples
        epochs=EPOCHS,
        num_examples=NUM_EXAMPLES,
        unit="rows",
        validation_data=examples().batch(12),
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=begin)],
    )
    return {str(i): np.array(tf.convert_to_tensor(one)) for i, one in enumerate(model.weights)}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if sys.argv[2:] == ["mirrored"]:  # two devices of this process
        processor, two = tf.config.list_physical_devices("CPU")[0], ["CPU:0", "CPU:1"]
        devices = [tf.config.LogicalDeviceConfiguration() for _ in two]
        tf.config.set_logical_device_configuration(processor, devices)
        strategies.make_strategy = lambda name: tf.distribute.MirroredStrategy(two)
        weights = train(folder / "mirrored", "mirrored")
    else:
        weights = train(folder / "run", "multi_worker", dies=folder / "died")
    np.savez(folder / f"weights-{os.getpid()}.npz", **weights)
