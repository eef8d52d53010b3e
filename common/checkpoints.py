"""Checkpoints of a training on disk: whole or not there, and a damaged one is passed over."""

import logging
import shutil
from pathlib import Path

import keras
import tensorflow as tf

from common import files
from common.errors import UserError

logger = logging.getLogger("cellstate")


class Checkpoints:
    """What a training needs to go on as if nothing had happened, after any of its steps.

    One folder a checkpoint, named by the step of the optimizer: the weights, the optimizer, the
    seeds of dropout (which neither Keras nor `tf.train.Checkpoint` keeps by itself) and
    state.json, a dict of the caller's. The folder is written under another name and renamed, and
    only then the older ones are removed, so that two whole ones are there at any moment.

    Args:
        folder: holds the checkpoints; made when needed.
        model: built and compiled.
        writes: whether this process writes them, or another one that trains the same model.
    """

    KEPT = 2

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
        with files.replacing(self.folder / str(self._step())) as temporary:
            temporary.mkdir()
            self._values.write(str(temporary / "weights"))
            files.write_json(temporary / "state.json", state)
        for old in self._steps()[self.KEPT :]:
            shutil.rmtree(self.folder / str(old))

    def restore(self) -> dict | None:
        """Sets the model to the newest checkpoint that can be read; its state, None without one.

        Raises:
            UserError: there are checkpoints, but none of them can be read.
        """
        unfinished_ones = self.folder.glob(".writing-*") if self.writes else ()
        for unfinished in unfinished_ones:
            shutil.rmtree(unfinished)
        steps = self._steps()
        for step in steps:
            path = self.folder / str(step)
            try:
                state = files.read_json(path / "state.json")
                self._values.read(str(path / "weights")).assert_consumed()
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
