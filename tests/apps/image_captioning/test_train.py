"""Training: the weights it begins with, and what it refuses."""

import dataclasses
import random

import numpy as np
import pytest
import tensorflow as tf

from apps.image_captioning import data, train
from apps.image_captioning.config import TINY
from common.runs.directory import RunDirectory
from common.runs.errors import UserError
from common.training import fit, strategies


class Stop(Exception):
    """Comes in place of the fitting."""


def first_weights(path, cache_dir, monkeypatch, *, num_draws: int) -> list[np.ndarray]:
    """Of the encoder and the model, where preparing the data has drawn so many numbers."""
    load_split, models = data.load_split, []

    def prepare(*arguments):
        for _ in range(num_draws):
            random.random()
        return load_split(*arguments)

    def stop(model, *arguments, **options):
        models.append(model)
        raise Stop

    config = dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, cache_dir=cache_dir))
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(data, "load_split", prepare)
        patch.setattr(fit, "fit", stop)
        train.train(config, path)
    encoder = RunDirectory(path).load_model("encoder.keras")
    return [*encoder.get_weights(), *models[0].get_weights()]


def test_the_first_weights_are_the_same_whatever_preparing_the_data_drew(
    cache_dir, tmp_path, monkeypatch
):
    usual, other = (
        first_weights(tmp_path / str(n), cache_dir, monkeypatch, num_draws=n) for n in (0, 1)
    )
    for expected, weight in zip(usual, other, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_coverage_on_several_devices_of_one_machine_is_refused(tmp_path, monkeypatch):
    two = tf.distribute.MirroredStrategy(["CPU:0"])
    monkeypatch.setattr(type(two), "num_replicas_in_sync", 2)
    monkeypatch.setattr(strategies, "make_strategy", lambda name: two)
    with pytest.raises(UserError, match=r"train\.coverage 0 .*--train\.strategy none"):
        train.train(TINY, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()
