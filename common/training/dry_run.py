"""A dry run of a training: its layers, and the minutes that it would take."""

import logging
import time

import keras
import tensorflow as tf

from common.runs import cli
from common.training import strategies

logger = logging.getLogger("cellstate")


def report(model: keras.Model, batches: tf.data.Dataset, *, name: str, num_batches: int) -> None:
    """Takes two steps of `num_batches`; logs the layers, and the time that all would take."""
    model.summary(
        expand_nested=True,
        show_trainable=True,
        print_fn=lambda table: logger.info("%s:\n%s", name, table),
    )
    step_ends: list[float] = []
    clock = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: step_ends.append(time.monotonic())
    )
    model.fit(
        strategies.read_by_all(batches),
        steps_per_epoch=2,
        shuffle=False,
        callbacks=[clock],
        verbose=cli.bars(),
    )
    seconds = step_ends[1] - step_ends[0]  # the first step waits for the graph
    logger.info(
        "%s: %.2f s for a step, at most %.1f minutes for %d steps, without validation",
        name,
        seconds,
        seconds * num_batches / 60,
        num_batches,
    )
