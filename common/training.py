"""What every training does around `fit`: seed, history, best model, early stop, resume by epoch."""

import csv
import io
import logging
import time

import keras
import numpy as np
import tensorflow as tf

from common import files, runs

logger = logging.getLogger("cellstate")


def start(*, seed: int, deterministic: bool) -> None:
    """Seeds Python, NumPy and TensorFlow; by option makes every operation reproducible."""
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


class KeepRun(keras.callbacks.Callback):
    """After every epoch: the history, the best model and a checkpoint; stops after `patience`.

    The history also says which share of the steps a `ClippedAdam` clipped.

    `fit` a model with this and `initial_epoch=keep.first_epoch`, after `keep.restore(model)`.
    What a resumed training needs is in `checkpoints/<name>`: weights and optimizer, and in
    state.json the epoch, the history and the best value. state.json is written last, so that a
    kill at any moment repeats at most the epoch it broke off.

    Args:
        run: the run directory.
        best: the model that is saved when `monitor` rises; shares its layers with the fitted one.
        name: `<name>.keras`, `checkpoints/<name>`; the history of "model" is history.csv.
        monitor: a metric of `fit` that should be high.
        patience: epochs without a better value before training stops.
        seed: dropout draws as a function of (seed, epoch).
    """

    def __init__(
        self,
        run: runs.RunDirectory,
        best: keras.Model,
        *,
        name: str,
        monitor: str,
        patience: int,
        seed: int,
    ):
        super().__init__()
        self.run, self.best, self.name = run, best, name
        self.monitor, self.patience, self.seed = monitor, patience, seed
        self.folder = run.path / "checkpoints" / name
        self.history: list[dict[str, float]] = []

    @property
    def first_epoch(self) -> int:
        """The number of epochs that are done."""
        return len(self.history)

    @property
    def finished(self) -> bool:
        """Whether early stopping has ended the training."""
        return bool(self.history) and self.first_epoch - self._best_epoch() >= self.patience

    @property
    def best_value(self) -> float:
        """The highest value of the monitored metric so far."""
        return max((row[self.monitor] for row in self.history), default=float("-inf"))

    def restore(self, model: keras.Model) -> None:
        """Prepares `model`, built and compiled, for checkpoints; continues an interrupted run."""
        model.optimizer.build(model.trainable_variables)
        self.checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
        self.manager = tf.train.CheckpointManager(self.checkpoint, self.folder, max_to_keep=2)
        if (self.folder / "state.json").exists():
            self.history = files.read_json(self.folder / "state.json")["history"]
            path = self.folder / f"ckpt-{self.first_epoch}"
            self.checkpoint.restore(str(path)).assert_consumed()
            logger.info("%s: continues after epoch %d", self.name, self.first_epoch)

    def on_epoch_begin(self, epoch, logs=None):
        """Seeds dropout; all other state is as the last epoch left it."""
        weights = {id(weight) for weight in self.model.weights}
        states = [v for v in self.model.variables if id(v) not in weights and "seed" in v.path]
        for place, state in enumerate(states):
            draw = np.random.default_rng([self.seed, epoch, place]).integers(2**32, size=2)
            state.assign(draw.astype(state.dtype))
        self.before = _clipped_and_all(self.model.optimizer)
        self.begun = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """Notes when the last batch was done: validation follows it."""
        self.trained = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Writes history, best model and checkpoint."""
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        clipped, steps = _clipped_and_all(self.model.optimizer) - self.before
        if hasattr(self.model.optimizer, "num_clipped"):
            row["clipped_share"] = float(clipped / steps)
        row["train_seconds"] = round(self.trained - self.begun, 3)
        better = row[self.monitor] > self.best_value
        self.history.append(row)
        if better:
            self.run.save_model(self.best, f"{self.name}.keras")
        if self.name == "model":
            self.run.write_text("history.csv", _as_csv(self.history))
        self.manager.save(checkpoint_number=epoch + 1)
        files.write_json(self.folder / "state.json", {"history": self.history})
        logger.info(
            "%s: epoch %d  %s",
            self.name,
            epoch + 1,
            "  ".join(f"{key} {value:.4f}" for key, value in row.items() if key != "epoch"),
        )
        if self.finished:
            logger.info("%s: no better %s for %d epochs", self.name, self.monitor, self.patience)
            self.model.stop_training = True

    def _best_epoch(self) -> int:
        values = [row[self.monitor] for row in self.history]
        return 1 + int(np.argmax(values)) if values else 0


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


def _clipped_and_all(optimizer) -> np.ndarray:
    """Steps whose gradients were clipped, and all steps, since the start."""
    return np.array([int(getattr(optimizer, "num_clipped", 0)), int(optimizer.iterations)])


def _as_csv(rows: list[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
