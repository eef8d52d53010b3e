"""Training on changed images: which views there are, and that they are a function of the seed."""

import dataclasses
from collections import Counter

import keras
import numpy as np
import pytest

from apps.image_captioning import data, model
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
