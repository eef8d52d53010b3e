"""What every training does: seed, scope, fit."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from common import cli, optimizers, rehearsal, strategies, telling
from common.keeping import KeepRun

logger = logging.getLogger("cellstate")


def start(
    *, seed: int, deterministic: bool, strategy: strategies.Name = "none"
) -> tf.distribute.Strategy:
    """Seeds Python, NumPy and TensorFlow; by option makes every operation reproducible.

    Returns what `strategies.make_strategy` makes of `strategy`, whose scope the model needs.
    """
    found = strategies.make_strategy(strategy)
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    return found


@contextlib.contextmanager
def scope(
    strategy: tf.distribute.Strategy, precision: optimizers.Precision = "float32"
) -> Iterator[None]:
    """Where a model is built and compiled: for `strategy`, its products in `precision`.

    Weights stay float32, and so does every layer that says so, as those of logits do.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        with strategy.scope():
            yield
    finally:
        keras.config.set_dtype_policy(before)


def fit(
    model: keras.Model,
    batches: Callable[[int], tf.data.Dataset],
    keep: KeepRun,
    *,
    steps_per_epoch: int,
    epochs: int,
    num_examples: int,
    unit: str,
    validation_data: tf.data.Dataset | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    make_samples: Callable[[], telling.Samples] | None = None,
) -> list[dict[str, float]]:
    """Fits from the last checkpoint on, or from the start; the history, a row for each epoch.

    Of a dry run it takes two steps, and tells the layers and how long the whole would take.

    Args:
        model: built and compiled.
        batches: gives the endless batches from this epoch on, in an order that is a function of
            the epoch alone.
        keep: writes the run, and decides when training stops.
        steps_per_epoch: batches in an epoch.
        epochs: in all, those of before an interruption counted.
        num_examples: in an epoch, to tell how many a second.
        unit: what they are, in the plural.
        validation_data: finite batches.
        callbacks: called before `keep`, for which they may add metrics to the epoch's logs.
        make_samples: makes what TensorBoard shows of validation examples.
    """
    strategy = model.distribute_strategy
    keep.restore(model)
    if keep.run.dry_run:
        rehearsal.rehearse(model, batches(0), name=keep.name, num_batches=steps_per_epoch * epochs)
        return []
    if validation_data is not None:
        validation_data = strategies.read_by_all(validation_data)
    numbers = {"num_examples": num_examples, "num_batches": steps_per_epoch}
    told = telling.Telling(
        keep.run, name=keep.name, unit=unit, make_samples=make_samples, **numbers
    )
    # On several devices the pipeline is copied and asks ahead: nobody could tell who waits.
    watch = told.watch if strategy.num_replicas_in_sync == 1 else lambda shown: shown
    while keep.first_epoch < epochs and not keep.finished:
        # The rest of a broken epoch is an epoch of its own to Keras, for it has fewer batches.
        model.fit(
            strategies.read_by_all(watch(batches(keep.first_epoch).skip(keep.first_batch))),
            validation_data=validation_data,
            steps_per_epoch=steps_per_epoch - keep.first_batch,
            initial_epoch=keep.first_epoch,
            epochs=keep.first_epoch + 1 if keep.first_batch else epochs,
            shuffle=False,  # the data set is in a random order already
            callbacks=[*callbacks, *([told] if keep.run.writes else []), keep],
            verbose=cli.bars(),
        )
    strategies.wait_for_all(strategy)  # for the files of the best model
    return keep.history


def report_rates(
    batches: tf.data.Dataset,
    num_batches: int,
    *,
    num_examples: int,
    history: list[dict[str, float]],
    unit: str,
) -> None:
    """Logs how fast the input pipeline alone delivers and how fast the model takes, per second."""
    iterator = iter(batches)
    next(iterator)  # the start-up of the pipeline is not its rate
    begun = time.monotonic()
    for _ in range(num_batches):
        next(iterator)
    alone = num_examples / (time.monotonic() - begun)
    model = num_examples / float(np.median([row["train_seconds"] for row in history]))
    logger.info(
        "input pipeline alone: %.0f %s/s, model: %.0f %s/s, ratio %.1f",
        alone,
        unit,
        model,
        unit,
        alone / model,
    )
