"""Training on changed images: which views there are, and that they are a function of the seed."""

import dataclasses
from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf

from apps.image_captioning import augment, data, model
from apps.image_captioning.config import TINY, AugmentConfig, Config

NUM_TRAIN = 20  # of the fixture `karpathy`
replace = dataclasses.replace


def make_config(root, augment: AugmentConfig, **options) -> Config:
    return replace(
        TINY,
        augment=augment,
        model=replace(TINY.model, train_image_encoder=True, **options),
        data=replace(TINY.data, name="karpathy", root=root, cache_dir=root / "cache"),
        train=replace(TINY.train, batch_size=8),
    )


def epochs(config: Config, encoder, count: int, *, first: int = 0) -> list[dict[int, dict]]:
    """Of each epoch, its examples by place."""
    split = data.load_split(config.data, "train")
    shown = data.TrainingData(config, data.survey(split.records, config.data), split, encoder)
    batches = shown.batches(first_epoch=first).take(count * shown.num_batches)
    found: list[dict[int, dict]] = [{}]
    for batch in batches.as_numpy_iterator():
        if len(found[-1]) == NUM_TRAIN:
            found.append({})
        for row, place in enumerate(batch["place"]):
            found[-1][place] = {name: value[row] for name, value in batch.items()}
    assert [len(one) for one in found] == [NUM_TRAIN] * count
    return found


def views(image: np.ndarray) -> list[np.ndarray]:
    """The four quarter turns of an image, then those of its mirror image."""
    both = (image, image[:, ::-1])
    return [np.rot90(one, turns) for one in both for turns in range(4)]


@pytest.fixture
def plain(karpathy):
    config = make_config(karpathy, AugmentConfig())
    return epochs(config, model.make_image_encoder(config.model), 1)[0]


@pytest.mark.parametrize(
    ("augment", "allowed"),
    [
        (AugmentConfig(mirror=True), {0, 4}),
        (AugmentConfig(turn=True), {0, 1, 2, 3}),
        (AugmentConfig(mirror=True, turn=True), set(range(8))),
    ],
)
def test_all_views_and_no_others_are_shown(karpathy, plain, augment, allowed):
    config = make_config(karpathy, augment)
    encoder = model.make_image_encoder(config.model)
    shown = epochs(config, encoder, 6)
    seen = Counter()
    for epoch in shown:
        for place, example in epoch.items():
            equal = [np.array_equal(example["image"], v) for v in views(plain[place]["image"])]
            assert sum(equal) == 1
            seen[equal.index(True)] += 1
            np.testing.assert_array_equal(example["captions"], plain[place]["captions"])
    assert set(seen) == allowed
    assert min(seen.values()) > 0.3 * 6 * NUM_TRAIN / len(allowed)
    # After a stop the fourth epoch is the same, and it is not the first again.
    again = epochs(config, encoder, 1, first=3)[0]
    assert all(np.array_equal(again[n]["image"], shown[3][n]["image"]) for n in again)
    assert any(not np.array_equal(shown[0][n]["image"], shown[3][n]["image"]) for n in again)


def test_a_frozen_encoder_looks_at_the_changed_images(karpathy, plain):
    config = make_config(karpathy, AugmentConfig(mirror=True))
    keras.utils.set_random_seed(2)
    encoder = model.make_image_encoder(config.model)
    frozen = replace(config, model=replace(config.model, train_image_encoder=False))
    looked = epochs(frozen, encoder, 1)[0]
    shown = epochs(config, encoder, 1)[0]
    for place, example in looked.items():
        wanted = encoder(shown[place]["image"][None]).numpy()[0]
        np.testing.assert_allclose(example["grid"], wanted, rtol=1e-3, atol=1e-4)
    mirrored = [n for n in shown if not np.array_equal(shown[n]["image"], plain[n]["image"])]
    assert 0 < len(mirrored) < NUM_TRAIN


SIZE = 64
SKY, RED = (150, 200, 255), (200, 40, 40)


def ball() -> np.ndarray:
    """A drawing on white: a red ball in a field of sky."""
    drawn = np.full((SIZE, SIZE, 3), 255, np.uint8)
    drawn[8:56, 8:56] = SKY
    across = np.arange(SIZE) - SIZE / 2 + 0.5
    drawn[across[:, None] ** 2 + across**2 < 15**2] = RED
    return drawn


def redrawn(image: np.ndarray, count: int) -> np.ndarray:
    change = tf.function(augment.redraw)
    return np.stack([change(tf.constant(image), tf.constant([3, n])) for n in range(count)])


@pytest.fixture
def neutral(monkeypatch):
    """Another hand that draws just like the first; tests give it one habit."""
    for share in ("_COLOURED", "_OTHER_HUES", "_GREY", "_PALE", "_OUTLINED"):
        monkeypatch.setattr(augment, share, 0.0)
    monkeypatch.setattr(augment, "_SCALES", (1.0, 1.0))
    monkeypatch.setattr(augment, "_STRETCH", (0.0, 0.0))
    monkeypatch.setattr(augment, "_TILT", (0.0, 0.0))
    return monkeypatch


def test_a_hand_without_habits_changes_nothing(neutral):
    assert (redrawn(ball(), 20) == ball()).all()


def test_a_smaller_drawing_is_whole_and_of_the_right_size(neutral):
    neutral.setattr(augment, "_SCALES", (0.5, 0.5))
    for image in redrawn(ball(), 40):
        inked = (image < 255).any(axis=-1)
        assert not (inked[0].any() or inked[-1].any() or inked[:, 0].any() or inked[:, -1].any())
        assert inked.sum() == pytest.approx(24 * 24, rel=0.1)


def test_an_outline_is_dark_and_stands_where_colours_meet(neutral):
    neutral.setattr(augment, "_OUTLINED", 1.0)
    neutral.setattr(augment, "_CONTRASTS", (0.08, 0.08))
    neutral.setattr(augment, "_SLOPES", (12, 12))
    dark = redrawn(ball(), 40).max(axis=-1) < 60
    middle = SIZE // 2
    assert dark[:, middle, [8, 17, 47, 55]].any(axis=1).all()  # the rims of field and ball
    assert not dark[:, middle, 22:42].any()  # the inside of the ball
    assert not dark[:, :6].any()  # paper


def test_paper_stays_white_and_most_drawings_get_outlines():
    paper = np.full((SIZE, SIZE, 3), 255, np.uint8)
    assert (redrawn(paper, 100) == 255).all()
    dark = (redrawn(ball(), 200).max(axis=-1) < 60).any(axis=(1, 2))
    assert 0.6 < dark.mean() < 0.9


def test_drawings_are_redrawn_anew_in_each_epoch_and_alike_after_a_stop(karpathy, plain):
    config = make_config(karpathy, AugmentConfig(redraw=True))
    encoder = model.make_image_encoder(config.model)
    shown = epochs(config, encoder, 3)
    again = epochs(config, encoder, 1, first=2)[0]
    for place, example in again.items():
        np.testing.assert_array_equal(example["image"], shown[2][place]["image"])
        np.testing.assert_array_equal(example["captions"], plain[place]["captions"])
        assert not np.array_equal(example["image"], shown[0][place]["image"])
