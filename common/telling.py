"""What a training tells besides its log lines: events as JSON lines, scalars for TensorBoard."""

import json
import logging
import resource
import sys
import time

import keras
import tensorflow as tf

from common import runs

logger = logging.getLogger("cellstate")


class Telling(keras.callbacks.Callback):
    """Writes log/events.jsonl and log/tensorboard of a run.

    An event is one line: {"time": seconds since 1970, "event": "begin" | "epoch" | "end", "name":
    ..., "epoch": ...}. An epoch has all its metrics, and

        examples_per_second   in training, without validation
        learning_rate         of the last step
        gradient_norm         of the last step, before clipping
        peak_gib              the largest memory that the process has held

    TensorBoard has the same numbers by epoch, and the loss every `EVERY` steps. A resumed training
    goes on in the same files, with another "begin".

    Args:
        run: the run directory.
        name: of the network, as in `KeepRun`.
        num_examples: in an epoch.
        num_batches: in an epoch; the rest of a broken one has fewer.
        unit: of the examples, for the log.
    """

    EVERY = 50

    def __init__(
        self, run: runs.RunDirectory, *, name: str, num_examples: int, num_batches: int, unit: str
    ):
        super().__init__()
        self.run, self.name, self.unit = run, name, unit
        self.examples_a_batch = num_examples / num_batches

    def on_train_begin(self, logs=None):
        """Begins the files, or goes on in them."""
        folder = self.run.path / "log"
        folder.mkdir(parents=True, exist_ok=True)
        self._summaries = tf.summary.create_file_writer(str(folder / "tensorboard" / self.name))
        self._tell("begin", {})

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock."""
        self._begun = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """The loss, now and then."""
        self._trained = time.monotonic()  # validation follows the last batch
        if batch % self.EVERY == 0 and logs:
            with self._summaries.as_default(step=self._step()):
                tf.summary.scalar("batch_loss", logs["loss"])

    def on_epoch_end(self, epoch, logs=None):
        """All numbers of the epoch."""
        adam = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        examples = self.examples_a_batch * self.params["steps"]
        row = {
            **{name: float(value) for name, value in (logs or {}).items()},
            "examples_per_second": examples / (self._trained - self._begun),
            "learning_rate": float(tf.convert_to_tensor(adam.learning_rate)),
            "peak_gib": _peak_gib(),
        }
        if hasattr(adam, "gradient_norm"):
            row["gradient_norm"] = float(tf.convert_to_tensor(adam.gradient_norm))
        with self._summaries.as_default(step=epoch + 1):
            for name, value in row.items():
                tf.summary.scalar(name, value)
        self._tell("epoch", {"epoch": epoch + 1, **row})
        logger.info(
            "%s: %.0f %s/s, learning rate %.2g, %.1f GiB at most",
            self.name,
            row["examples_per_second"],
            self.unit,
            row["learning_rate"],
            row["peak_gib"],
        )

    def on_train_end(self, logs=None):
        """The last line."""
        self._tell("end", {})
        self._summaries.close()

    def _step(self) -> int:
        return int(tf.convert_to_tensor(self.model.optimizer.iterations))

    def _tell(self, event: str, values: dict) -> None:
        line = {"time": round(time.time(), 3), "event": event, "name": self.name, **values}
        # Opened for each line: a training may end anywhere.
        with (self.run.path / "log" / "events.jsonl").open("a", encoding="utf-8") as events:
            events.write(json.dumps(line) + "\n")
        self._summaries.flush()


def _peak_gib() -> float:
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (kib if sys.platform != "darwin" else kib / 1024) / 2**20
