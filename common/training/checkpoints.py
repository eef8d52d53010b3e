"""History, best model and checkpoints of a training, and how it continues from them."""

import csv
import io
import logging
import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from common.runs import directory, files
from common.runs.errors import UserError
from common.training import strategies
from common.training.options import Keep

logger = logging.getLogger("cellstate")


class Checkpointing(keras.callbacks.Callback):
    """Writes history, best model and checkpoints of a training; stops it after `patience`.

    A checkpoint is written after every epoch, and within an epoch whenever `minutes` have passed
    since the last. A training that is killed at any moment continues from there, with the same
    batches, dropout, clipping counts and metrics as an uninterrupted one. A loss that is not finite
    ends the training before it can reach a checkpoint. Several workers have checkpoints after each
    epoch alone; the first worker writes them, and all read them.

    The history has the share of the steps that a `ClippedAdam` clipped. Where it averages the
    weights, validation, the callbacks before this one and the best model have the averages.

    Args:
        best: the model that is saved when `monitor` rises; shares its layers with the fitted one.
        name: `<name>.keras`, `checkpoints/<name>`; the history of "model" is history.csv.
        monitor: a metric of `fit` that should be high.
        patience: epochs without a better value before training stops.
        keep: whether the best epoch is saved, or each, so that the last one stays; then `patience`
            stops nothing.
        minutes: between two checkpoints within an epoch; 0: after every batch.
    """

    def __init__(
        self,
        run: directory.RunDirectory,
        best: keras.Model,
        *,
        name: str,
        monitor: str,
        patience: int,
        keep: Keep = "best",
        minutes: float = 10.0,
    ):
        super().__init__()
        self.run, self.best, self.name = run, best, name
        self.monitor, self.patience, self.keep, self.minutes = monitor, patience, keep, minutes
        self.history: list[dict[str, float]] = []
        self._part: dict | None = None  # of a broken epoch, until it begins again

    @property
    def first_epoch(self) -> int:
        """The number of epochs that are done."""
        return len(self.history)

    @property
    def first_batch(self) -> int:
        """How many batches of the next epoch were done when the training was killed."""
        return self._part["batches"] if self._part else 0

    @property
    def finished(self) -> bool:
        """Whether early stopping has ended the training."""
        values = [row[self.monitor] for row in self.history]
        if self.keep == "last" or not values:
            return False
        return len(values) - 1 - int(np.argmax(values)) >= self.patience

    @property
    def best_value(self) -> float:
        """The highest value of the monitored metric so far."""
        return max((row[self.monitor] for row in self.history), default=float("-inf"))

    def restore(self, model: keras.Model) -> None:
        """Prepares `model`, built and compiled, for checkpoints; continues an interrupted run."""
        self.checkpoints = Checkpoints(
            self.run.path / "checkpoints" / self.name, model, writes=self.run.writes
        )
        strategy = model.distribute_strategy
        self._alone = not strategies.is_multi_worker(strategy)
        with strategies.chief_first(strategy):  # it removes what is damaged
            state = self.checkpoints.restore()
        if state:
            self.history, self._part = state["history"], state["part"]
            done = self.first_epoch, self.first_batch
            logger.info("%s: continues after epoch %d, batch %d", self.name, *done)

    def on_epoch_begin(self, epoch, logs=None):
        """Puts back what a broken epoch had counted; all else is as the last epoch left it."""
        part, self._part = self._part, None
        self._batches, self._seconds = (part["batches"], part["seconds"]) if part else (0, 0.0)
        self._before = np.array(part["counts"]) if part else _clipped_and_all(self._adam)
        self._metrics = part["metrics"] if part else []
        self._begun = self._written = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """Refuses a loss that is not finite; writes a checkpoint when it is time."""
        self._batches += 1
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise UserError(
                f"expected a finite loss of {self.name}, got {loss} in batch {self._batches} of "
                f"epoch {self.first_epoch + 1}: lower --train.learning-rate, or look for broken "
                f"examples; the checkpoints before it are in {self.checkpoints.folder}"
            )
        # Keras makes the metrics in the first step; they are sums, and these begin them.
        for metric, value in zip(self.model.metrics_variables, self._metrics, strict=False):
            metric.assign(metric + np.array(value, metric.dtype))
        self._metrics = []
        self._trained = time.monotonic()  # validation follows the last batch
        is_last = batch + 1 == self.params["steps"]  # on_epoch_end writes the next checkpoint
        if is_last and self._adam.use_ema:
            self._adam.swap_averages()
        is_time = self._trained - self._written >= 60 * self.minutes
        # Several workers would have to agree that it is time, at every batch.
        if is_time and self._alone and not is_last:
            self._save(
                {
                    "batches": self._batches,
                    "seconds": self._seconds + self._trained - self._begun,
                    "counts": self._before.tolist(),
                    "metrics": [metric.numpy().tolist() for metric in self.model.metrics_variables],
                }
            )

    def on_epoch_end(self, epoch, logs=None):
        """Writes history, best model and checkpoint."""
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        clipped, steps = _clipped_and_all(self._adam) - self._before
        if hasattr(self._adam, "num_clipped"):
            row["clipped_share"] = float(clipped / steps)
        row["train_seconds"] = round(self._seconds + self._trained - self._begun, 3)
        is_kept = self.keep == "last" or row[self.monitor] > self.best_value
        self.history.append(row)
        if is_kept:
            self.run.save_model(self.best, f"{self.name}.keras")
        if self._adam.use_ema:
            self._adam.swap_averages()
        if self.name == "model":
            self.run.write_text("history.csv", _as_csv(self.history))
        self._save(None)
        values = "  ".join(f"{key} {value:.4f}" for key, value in row.items() if key != "epoch")
        logger.info("%s: epoch %d  %s", self.name, epoch + 1, values)
        if self.finished:
            logger.info("%s: no better %s for %d epochs", self.name, self.monitor, self.patience)
            self.model.stop_training = True

    @property
    def _adam(self) -> keras.optimizers.Optimizer:
        """The optimizer, also where another that scales the loss is around it."""
        return getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)

    def _save(self, part: dict | None) -> None:
        self.checkpoints.save({"history": self.history, "part": part})
        self._written = time.monotonic()


def _clipped_and_all(optimizer) -> np.ndarray:
    """Steps whose gradients were clipped, and all steps, since the start."""
    counts = getattr(optimizer, "num_clipped", 0), optimizer.iterations
    return np.array([int(tf.convert_to_tensor(count)) for count in counts])


def _as_csv(rows: list[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class Checkpoints:
    """Checkpoints from which a training continues exactly, after any of its steps.

    Each is a folder, named by the step of the optimizer: the weights, the optimizer, the seeds of
    dropout (which neither Keras nor `tf.train.Checkpoint` saves by itself) and state.json, a dict
    of the caller's. The folder is written under another name and renamed, and only then the older
    ones are removed, so that there are two whole checkpoints at any moment.

    Args:
        folder: holds the checkpoints; made when needed.
        model: built and compiled.
        writes: whether this process writes them, or another one that trains the same model.
    """

    NUM_SAVED = 2

    def __init__(self, folder: Path, model: keras.Model, *, writes: bool = True):
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)
        weights = {id(weight) for weight in model.weights}
        seeds = [
            variable.value
            for variable in model.variables
            if id(variable) not in weights and "seed_generator" in variable.path
        ]
        self.folder, self.writes, self._optimizer = folder, writes, model.optimizer
        self._values = tf.train.Checkpoint(model=model, optimizer=model.optimizer, seeds=seeds)

    def save(self, state: dict) -> None:
        """Writes a checkpoint of the step that is done, and removes all but the last two."""
        if not self.writes:
            return
        path = self.folder / str(self._step())
        with files.replacing(path, is_older=lambda old: (old / "state.json").exists()) as temporary:
            temporary.mkdir()
            self._values.write(str(temporary / "weights"))
            files.write_json(temporary / "state.json", state)
        for old in self._steps()[self.NUM_SAVED :]:
            shutil.rmtree(self.folder / str(old))

    def restore(self) -> dict | None:
        """Sets the model to the newest checkpoint that can be read; its state, None without one.

        Raises:
            UserError: there are checkpoints, but none of them can be read.
        """
        for unfinished in self.folder.glob(".writing-*") if self.writes else ():
            shutil.rmtree(unfinished)
        steps = self._steps()
        for step in steps:
            path = self.folder / str(step)
            try:
                state = files.read_json(path / "state.json")
                with files.without_pattern(path) as link:
                    self._values.read(str(link / "weights")).assert_consumed()
                return state
            # TensorFlow raises IndexError when a file is too short.
            except (UserError, tf.errors.OpError, ValueError, IndexError, AssertionError) as error:
                reason = str(error).strip().splitlines()[0]
                logger.warning("%s is damaged (%s): trying the one before it", path, reason)
                if self.writes:
                    shutil.rmtree(path)  # else its step would seem done
        if steps:
            raise UserError(
                f"expected a checkpoint that can be read in {self.folder}, found only damaged "
                "ones: start another run"
            )
        return None

    def _step(self) -> int:
        return int(tf.convert_to_tensor(self._optimizer.iterations))  # it may have several replicas

    def _steps(self) -> list[int]:
        """Steps of the checkpoints, the newest first."""
        names = [path.name for path in self.folder.glob("*") if path.name.isdecimal()]
        return sorted(map(int, names), reverse=True)


def require_same_shapes(name: str, new: Sequence, old: Sequence, *, run_dir: Path) -> None:
    """Raises UserError where the weights of a part of another run have other shapes.

    `new` and `old` are the shapes in order; `old` is empty where that run lacks the part.
    """
    if list(new) != list(old):
        raise UserError(
            f"expected weights of the shapes {new} for {name} in --train.init-from {run_dir}, "
            f"got {old}: train both with the same --model options"
        )
