"""The log of a training beside its history: events as JSON lines, TensorBoard, log lines."""

import json
import logging
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf

from common.layers import recurrent
from common.runs import directory
from common.runs.errors import UserError
from common.training import strategies

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
        tokens_per_second     real steps of the sequences, padding not counted
        padding_ratio         share of padding among the steps, 0 to 1
        traces                how often TensorFlow has made a graph of the training step
        waiting_share         of the time, waiting for input; on one device only
        learning_rate         of the last step
        gradient_norm         of the last step, before clipping
        peak_gib              the largest memory that the process has held

    TensorBoard has the same numbers by epoch, the loss every `EVERY` steps, and `Samples` after an
    epoch that ends a minute or more after the last ones, or after the training began. A resumed
    training continues the same files, with another "begin". Where more than half of the predictions
    on validation are equal (val_largest_share), it warns.

    Args:
        run: the run directory.
        name: of the network, as in `Checkpointing`.
        num_examples: in an epoch.
        num_batches: in an epoch; the rest of a broken one has fewer.
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
        self._waited, self._make_samples, self._samples = 0.0, make_samples, None

    def watch(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """The same batches; adds up how long each is waited for."""

        # Python's clock: deterministic operations have none.
        def now() -> float:
            return time.monotonic()

        def add_up(start: float) -> float:
            self._waited += now() - start
            return self._waited

        def arrived(start, batch):
            tf.numpy_function(add_up, [start], tf.float64)
            return batch

        starts = tf.data.Dataset.range(tf.int64.max).map(
            lambda _: tf.numpy_function(now, [], tf.float64)
        )
        options = tf.data.Options()
        # It would read ahead, and wait in the place of the training.
        options.experimental_optimization.inject_prefetch = False
        return tf.data.Dataset.zip((starts, batches)).map(arrived).with_options(options)

    def on_train_begin(self, logs=None):
        """Begins the files, or continues them."""
        folder = self.run.path / "log"
        folder.mkdir(parents=True, exist_ok=True)
        self._summaries = tf.summary.create_file_writer(str(folder / "tensorboard" / self.name))
        self._sampled = time.monotonic()
        self._write_event("begin", {})

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clocks."""
        self._waited = 0.0
        self._begun = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """Writes the loss, every `EVERY` steps."""
        if batch + 1 == self.params["steps"]:  # validation follows, and begins the metrics again
            self._speed = self._speeds(time.monotonic() - self._begun)
        if batch % self.EVERY == 0 and logs:
            with self._summaries.as_default(step=self._step()):
                tf.summary.scalar("batch_loss", logs["loss"])

    def on_epoch_end(self, epoch, logs=None):
        """Writes all numbers of the epoch, and samples when they are due."""
        row = {
            **{name: float(value) for name, value in (logs or {}).items()},
            **self._speed,
            **self._of_the_optimizer(),
            "peak_gib": _peak_gib(),
        }
        with self._summaries.as_default(step=epoch + 1):
            for name, value in row.items():
                tf.summary.scalar(name, value)
        if self._make_samples and time.monotonic() - self._sampled >= self.SAMPLES_EVERY_S:
            self._samples = self._samples or self._make_samples()
            self._write_samples(self._samples, step=epoch + 1)
            self._sampled = time.monotonic()
        self._write_event("epoch", {"epoch": epoch + 1, **row})
        logger.info("%s: %s", self.name, self._as_line(row))
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

    def _speeds(self, seconds: float) -> dict[str, float]:
        share = self.params["steps"] / self.num_batches  # of an epoch that was broken
        speeds = {"examples_per_second": share * self.num_examples / seconds}
        if isinstance(self.model, strategies.Model):
            real, whole = self.model.count_steps()
            speeds["traces"] = self.model.traces
            if whole:
                speeds["padding_ratio"] = 1 - real / whole
                speeds["tokens_per_second"] = share * real / seconds
        if self._waited:
            speeds["waiting_share"] = self._waited / seconds
        return speeds

    def _of_the_optimizer(self) -> dict[str, float]:
        adam = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        values = {"learning_rate": adam.learning_rate}
        if hasattr(adam, "gradient_norm"):
            values["gradient_norm"] = adam.gradient_norm
        return {name: float(tf.convert_to_tensor(value)) for name, value in values.items()}

    def _as_line(self, row: dict[str, float]) -> str:
        parts = [f"{row['examples_per_second']:.0f} {self.unit}/s"]
        if "padding_ratio" in row:
            parts += [f"{row['tokens_per_second']:.0f} tokens/s"]
            parts += [f"padding {row['padding_ratio']:.0%}", f"traces {row['traces']}"]
        if "waiting_share" in row:
            parts += [f"waits {row['waiting_share']:.0%} for input"]
        parts += [f"learning rate {row['learning_rate']:.2g}"]
        parts += [
            f"{row['peak_gib']:.1f} GiB at most",
            *sorted(set(recurrent.kernels(self.model).values())),
        ]
        return ", ".join(parts)

    def _step(self) -> int:
        return int(tf.convert_to_tensor(self.model.optimizer.iterations))

    def _write_event(self, event: str, values: dict) -> None:
        line = {"time": round(time.time(), 3), "event": event, "name": self.name, **values}
        # Opened for each line: a training may end anywhere.
        with (self.run.path / "log" / "events.jsonl").open("a", encoding="utf-8") as events:
            events.write(json.dumps(line) + "\n")
        self._summaries.flush()


def _peak_gib() -> float:
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (kib if sys.platform != "darwin" else kib / 1024) / 2**20
