"""The log of a training beside its history: events as JSON lines, TensorBoard, log lines."""

import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf

from common.runs import directory
from common.runs.errors import UserError

logger = logging.getLogger("cellstate")

NUM_SAMPLES = 2


class Sample(NamedTuple):
    """The output for a validation example, as Markdown, and a picture of its attention or the like.

    `picture` is a PNG file.
    """

    text: str
    picture: Path


Samples = Callable[[Path], Iterable[Sample]]
"""Gives the same examples each time; its argument is the folder for the pictures."""


class TrainingLog(keras.callbacks.Callback):
    """Writes log/events.jsonl and log/tensorboard of a run.

    An event is one line: {"time": seconds since 1970, "event": "begin" | "epoch" | "end", "name":
    ..., "epoch": ...}. An epoch has all its metrics, and

        examples_per_second   in training, without validation
        learning_rate         of the last step
        gradient_norm         of the last step, before clipping

    TensorBoard has the same numbers by epoch, the loss every `EVERY` steps, and `Samples` after an
    epoch that ends a minute or more after the last ones, or after the training began. A resumed
    training continues the same files, with another "begin". Where more than half of the predictions
    on validation are equal (val_largest_share), it warns.

    Args:
        name: of the network, as in `Checkpointing`.
        num_examples, num_batches: in an epoch; the rest of a broken one has fewer.
        unit: of the examples, for the log.
        make_samples: makes the function that gives samples, when they are first due.
    """

    EVERY = 50
    SAMPLES_EVERY_S = 60.0

    def __init__(
        self,
        run: directory.RunDirectory,
        *,
        name: str,
        num_examples: int,
        num_batches: int,
        unit: str,
        make_samples: Callable[[], Samples] | None = None,
    ):
        super().__init__()
        self.run, self.name, self.unit = run, name, unit
        self.num_examples, self.num_batches = num_examples, num_batches
        self._make_samples, self._samples = make_samples, None

    def on_train_begin(self, logs=None):
        """Begins the files, or continues them."""
        folder = self.run.path / "log"
        folder.mkdir(parents=True, exist_ok=True)
        self._summaries = tf.summary.create_file_writer(str(folder / "tensorboard" / self.name))
        self._sampled = time.monotonic()
        self._write_event("begin", {})

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock."""
        self._begun = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """Writes the loss, every `EVERY` steps."""
        if batch + 1 == self.params["steps"]:  # validation follows, and begins the metrics again
            share = self.params["steps"] / self.num_batches  # of an epoch that was broken
            self._speed = share * self.num_examples / (time.monotonic() - self._begun)
        if batch % self.EVERY == 0 and logs:
            with self._summaries.as_default(step=self._step()):
                tf.summary.scalar("batch_loss", logs["loss"])

    def on_epoch_end(self, epoch, logs=None):
        """Writes all numbers of the epoch, and samples when they are due."""
        row = {
            **{name: float(value) for name, value in (logs or {}).items()},
            "examples_per_second": self._speed,
            **self._of_the_optimizer(),
        }
        with self._summaries.as_default(step=epoch + 1):
            for name, value in row.items():
                tf.summary.scalar(name, value)
        if self._make_samples and time.monotonic() - self._sampled >= self.SAMPLES_EVERY_S:
            self._samples = self._samples or self._make_samples()
            self._write_samples(self._samples, step=epoch + 1)
            self._sampled = time.monotonic()
        self._write_event("epoch", {"epoch": epoch + 1, **row})
        rate = row["learning_rate"]
        logger.info("%s: %.0f %s/s, learning rate %.2g", self.name, self._speed, self.unit, rate)
        if row.get("val_largest_share", 0.0) > 0.5:
            logger.warning(
                "note: %.0f%% of the predictions on validation are equal",
                100 * row["val_largest_share"],
            )

    def on_train_end(self, logs=None):
        """Writes the last event."""
        self._write_event("end", {})
        self._summaries.close()

    def _write_samples(self, samples: Samples, *, step: int) -> None:
        with tempfile.TemporaryDirectory() as folder, self._summaries.as_default(step=step):
            try:
                for number, (text, picture) in enumerate(samples(Path(folder)), start=1):
                    pixels = tf.io.decode_png(picture.read_bytes(), channels=3)
                    tf.summary.text(f"sample_{number}", text)
                    tf.summary.image(f"sample_{number}", pixels[None])
            except UserError as error:  # a strange example is no reason to end a training
                logger.warning("note: no samples: %s", error)
                self._make_samples = None

    def _of_the_optimizer(self) -> dict[str, float]:
        adam = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        values = {"learning_rate": adam.learning_rate}
        if hasattr(adam, "gradient_norm"):
            values["gradient_norm"] = adam.gradient_norm
        return {name: float(tf.convert_to_tensor(value)) for name, value in values.items()}

    def _step(self) -> int:
        return int(tf.convert_to_tensor(self.model.optimizer.iterations))

    def _write_event(self, event: str, values: dict) -> None:
        line = {"time": round(time.time(), 3), "event": event, "name": self.name, **values}
        # Opened for each line: a training may end anywhere.
        with (self.run.path / "log" / "events.jsonl").open("a", encoding="utf-8") as events:
            events.write(json.dumps(line) + "\n")
        self._summaries.flush()
