"""The network: padding, delay, direction, that all of it learns, and weights of another run."""

import dataclasses

import keras
import numpy as np
import pytest

from apps.phoneme_tagging.config import TINY, ModelConfig
from apps.phoneme_tagging.model import Normalization, build_model, copy_weights
from common.inputs.text import Vocabulary
from common.layers import recurrent
from common.runs.directory import RunDirectory
from common.runs.errors import UserError

OPTIONS = ModelConfig(units=6, dropout=0.0)
UNIT = Normalization(np.zeros(39, np.float32), np.ones(39, np.float32))
FEATURES = np.random.default_rng(0).normal(size=(2, 12, 39)).astype(np.float32)


def build(**options) -> keras.Model:
    keras.utils.set_random_seed(1)
    config = dataclasses.replace(OPTIONS, **options)
    return build_model(config, num_phones=5, normalization=UNIT)


def logits(model: keras.Model, features: np.ndarray, lengths=None) -> np.ndarray:
    batch, time = features.shape[:2]
    mask = np.arange(time) < np.array(lengths or [time] * batch)[:, None]
    return model({"features": features, "frame_mask": mask}, training=False)["logits"].numpy()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"direction": "forward", "delay_frames": 3},
        {"cell": "mlp", "window_frames": 4, "layers": 2},
        {"normalization": "utterance"},
    ],
)
def test_padding_changes_nothing(options):
    model = build(**options)
    alone = logits(model, FEATURES[1:, :8])
    both = logits(model, FEATURES, lengths=[12, 8])
    np.testing.assert_allclose(both[1, :8], alone[0], atol=1e-5)


@pytest.mark.parametrize("delay", [0, 2, 8])
def test_forward_hears_as_far_ahead_as_its_delay_and_both_directions_all(delay):
    model = build(direction="forward", delay_frames=delay) if delay < 8 else build()
    changed = FEATURES.copy()
    changed[:, 8] += 1.0
    differs = np.abs(logits(model, FEATURES) - logits(model, changed)).max(axis=(0, 2)) > 1e-6
    assert not differs[: 8 - delay].any() and differs[8 - delay :].all()


def test_a_window_hears_its_frames_alone():
    model = build(cell="mlp", window_frames=4)
    changed = FEATURES.copy()
    changed[:, 6] += 1.0
    differs = np.abs(logits(model, FEATURES) - logits(model, changed)).max(axis=(0, 2)) > 1e-6
    assert np.flatnonzero(differs).tolist() == [4, 5, 6, 7]  # one before, two after


def test_utterances_are_freed_of_their_own_mean_and_variance():
    model = build(normalization="utterance")
    np.testing.assert_allclose(
        logits(model, FEATURES), logits(model, 3 * FEATURES - 5), atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize("cell", recurrent.CELLS)
def test_every_cell_builds(cell):
    assert logits(build(cell=cell), FEATURES).shape == (2, 12, 5)


def test_features_are_normalised():
    far = Normalization(np.full(39, 7.0, np.float32), np.full(39, 4.0, np.float32))
    keras.utils.set_random_seed(1)
    model = build_model(OPTIONS, num_phones=5, normalization=far)
    np.testing.assert_allclose(
        logits(model, 2 * FEATURES + 7), logits(build(), FEATURES), atol=1e-5
    )


def test_every_weight_moves_in_a_step():
    model = build()
    before = [weight.numpy() for weight in model.trainable_weights]
    fitted = keras.Model(model.input, model.output["logits"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    fitted.compile("adam", loss, run_eagerly=True)
    mask = np.ones((2, 12), bool)
    target = np.arange(24).reshape(2, 12) % 5
    fitted.fit({"features": FEATURES, "frame_mask": mask}, target, verbose=0)
    for old, new in zip(before, model.trainable_weights, strict=True):
        assert np.abs(old - new.numpy()).max() > 0, new.path


@pytest.mark.parametrize(
    "options",
    [
        {"delay_frames": 3},
        {"dropout": 1.0},
        {"units": 0},
        {"window_frames": 3},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match="model"):
        dataclasses.replace(OPTIONS, **options)


PHONES = Vocabulary(("s", "eng", "iy"))  # espeak never says eng
FAR = Normalization(np.full(39, 7.0, np.float32), np.ones(39, np.float32))


def build_other(**options) -> keras.Model:
    model = dataclasses.replace(TINY.model, **options)
    return build_model(model, num_phones=len(PHONES), normalization=FAR)


def test_layers_and_the_outputs_of_known_phones_are_copied(phone_run):
    run = RunDirectory.open(phone_run, app="phoneme_tagging")
    source, model = run.load_model(), build_other()
    names = Vocabulary.load(run.path / "vocab_phones.txt").tokens
    old, new = source.get_layer("logits"), model.get_layer("logits")
    first = new.get_weights()[0].copy()
    copy_weights(phone_run, model, PHONES)
    for one, other in zip(
        source.get_layer("frame_lstm").get_weights(),
        model.get_layer("frame_lstm").get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    for place, phone in enumerate(PHONES.tokens):
        expected = (
            old.get_weights()[0][:, names.index(phone)] if phone in names else first[:, place]
        )
        np.testing.assert_array_equal(new.get_weights()[0][:, place], expected)
    np.testing.assert_array_equal(model.get_layer("normalize").mean, FAR.mean[None, None])


def test_other_shapes_are_named(phone_run):
    with pytest.raises(UserError, match=r"frame_lstm.*--model"):
        copy_weights(phone_run, build_other(units=5), PHONES)
