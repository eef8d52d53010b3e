"""Training: its first weights, the paper's sizes, complete runs, and what it refuses."""

import random
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from apps.image_captioning import data, model, predict, train
from apps.image_captioning.captioning.encoder import make_image_encoder
from apps.image_captioning.config import PAPER, TINY
from common.inputs.text import SPECIALS, Vocabulary
from common.runs.errors import UserError
from common.training import fit, strategies

from .conftest import encoded_image


@pytest.fixture
def built(monkeypatch) -> list[keras.Model]:
    """The encoder and the model of each training."""
    build, networks = model.build_model, []

    def recorded(config, num_words, encoder, **options):
        networks.append((encoder, build(config, num_words, encoder, **options)))
        return networks[-1][1]

    monkeypatch.setattr(model, "build_model", recorded)
    return networks


def test_the_first_weights_are_the_same_whatever_preparing_the_data_drew(
    built, tmp_path, monkeypatch
):
    survey = data.Survey(Vocabulary((*SPECIALS, "face")), [1], 1, 0)
    monkeypatch.setattr(model, "make_writer", mock.Mock(side_effect=InterruptedError))
    for num_draws in (0, 1):

        def prepare(config, encoder, num_draws=num_draws):
            for _ in range(num_draws):
                random.random()
            return SimpleNamespace(survey=survey, summary=str)

        monkeypatch.setattr(data, "make_training_data", prepare)
        with pytest.raises(InterruptedError):
            train.train(TINY, tmp_path / str(num_draws))
    for usual, other in zip(*built, strict=True):
        for expected, weight in zip(usual.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, expected)


def on_photos(preset, karpathy, **options):
    """A preset on eight photos of the fixture, in two steps."""
    where = {"name": "karpathy", "root": karpathy, "cache_dir": karpathy / "cache"}
    return replace(
        preset,
        model=replace(preset.model, **options),
        data=replace(preset.data, **where, max_images=8),
        train=replace(preset.train, epochs=1, batch_size=4),
    )


def test_the_model_of_the_paper_trains(built, karpathy, tmp_path):
    train.train(on_photos(PAPER, karpathy), tmp_path / "run", dry_run=True)  # takes two steps
    ((_, trained),) = built
    decoder = trained.get_layer("decoder")
    assert (decoder.units, decoder.places.shape) == (1000, (14 * 14, 512))
    assert np.any(decoder.places)  # zeros at first
    assert all(np.isfinite(weight).all() for weight in trained.get_weights())


def test_a_run_with_a_trained_cnn_loads_when_its_weights_file_is_gone(
    karpathy, tmp_path, monkeypatch
):
    options = {"image_encoder": "MobileNet", "image_size": 32, "train_image_encoder": True}
    inside = make_image_encoder(replace(TINY.model, **options, colour_bins=None)).layers
    path = tmp_path / "mobilenet.weights.h5"
    next(layer for layer in inside if isinstance(layer, keras.Model)).save_weights(path)
    monkeypatch.setattr(fit, "fit", lambda model, _, run, *__, **___: run.save_model(model))
    config = on_photos(TINY, karpathy, **options, image_weights=path)
    run = train.train(config, tmp_path / "run")
    path.unlink()
    (captions,) = predict.Predictor.load(run.path).caption([encoded_image()])
    assert captions.captions


def test_coverage_on_several_devices_of_one_machine_is_refused(tmp_path, monkeypatch):
    two = tf.distribute.MirroredStrategy(["CPU:0"])
    monkeypatch.setattr(type(two), "num_replicas_in_sync", 2)
    monkeypatch.setattr(strategies, "make_strategy", lambda name: two)
    with pytest.raises(UserError, match=r"train\.coverage 0 .*--train\.strategy none"):
        train.train(TINY, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()
