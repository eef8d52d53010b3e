"""Batches: long captions are cut; changed images are a function of the seed and the epoch."""

import dataclasses
import json
from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf

from apps.image_captioning import data
from apps.image_captioning.captioning.encoder import make_image_encoder
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
    train_data = data.make_training_data(config, encoder)
    batches = train_data.batches(seed=1, first_epoch=first).take(count * train_data.num_batches)
    examples: list[dict[int, dict]] = [{}]
    for batch in batches.as_numpy_iterator():
        if len(examples[-1]) == NUM_TRAIN:
            examples.append({})
        for row, place in enumerate(batch["place"]):
            examples[-1][place] = {name: value[row] for name, value in batch.items()}
    assert [len(epoch) for epoch in examples] == [NUM_TRAIN] * count
    return examples


def views(image: np.ndarray) -> list[np.ndarray]:
    """The four quarter turns of an image, then those of its mirror image."""
    mirrored = image[:, ::-1]
    return [np.rot90(view, turns) for view in (image, mirrored) for turns in range(4)]


@pytest.mark.parametrize(
    ("augment", "allowed"),
    [
        (AugmentConfig(mirror=True), {0, 4}),
        (AugmentConfig(turn=True), {0, 1, 2, 3}),
        (AugmentConfig(mirror=True, turn=True), set(range(8))),
    ],
)
def test_all_views_come_and_no_others(augment, allowed):
    change = data.make_change(augment)
    assert change is not None
    image = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    counts = Counter()
    for number in range(120):
        view = change({"image": tf.constant(image)}, tf.constant([1, number]))["image"]
        equal = [np.array_equal(view, other) for other in views(image)]
        assert sum(equal) == 1
        counts[equal.index(True)] += 1
    assert set(counts) == allowed
    assert min(counts.values()) > 0.3 * 120 / len(allowed)


def test_changed_images_are_a_function_of_the_epoch(karpathy):
    plain = make_config(karpathy, AugmentConfig())
    encoder = make_image_encoder(plain.model)
    (first,) = epochs(plain, encoder, 1)
    config = make_config(karpathy, AugmentConfig(mirror=True, turn=True))
    training = epochs(config, encoder, 2)
    for place, example in training[1].items():
        assert any(np.array_equal(example["image"], v) for v in views(first[place]["image"]))
        np.testing.assert_array_equal(example["captions"], first[place]["captions"])
    # After a stop the second epoch is the same, and it is not the first again.
    (again,) = epochs(config, encoder, 1, first=1)
    assert all(np.array_equal(again[n]["image"], training[1][n]["image"]) for n in again)
    assert any(not np.array_equal(training[0][n]["image"], again[n]["image"]) for n in again)


def test_a_frozen_encoder_sees_the_changed_images(karpathy):
    config = make_config(karpathy, AugmentConfig(mirror=True))
    keras.utils.set_random_seed(2)
    encoder = make_image_encoder(config.model)
    first, second = epochs(config, encoder, 2)
    differing = [n for n in first if not np.array_equal(first[n]["image"], second[n]["image"])]
    assert 0 < len(differing) < NUM_TRAIN
    frozen = replace(config, model=replace(config.model, train_image_encoder=False))
    (with_grids,) = epochs(frozen, encoder, 1)
    images, grids = zip(*((first[n]["image"], with_grids[n]["grid"]) for n in first), strict=True)
    np.testing.assert_allclose(grids, encoder(np.stack(images)), rtol=1e-3, atol=1e-4)


def test_a_caption_of_five_hundred_words_is_cut_and_counted(karpathy):
    path = karpathy / "dataset.json"
    stored = json.loads(path.read_text())
    stored["images"][12]["sentences"].append({"raw": " ".join(["tree"] * 500)})
    path.write_text(json.dumps(stored))
    options = make_config(karpathy, AugmentConfig()).data
    split = data.load_split(options, "train")
    survey = data.survey(split.records, options)
    assert (survey.num_cut, max(survey.lengths)) == (1, options.max_caption_words)
    examples = data.make_examples(split.records, survey.words, options, image_size=None)
    longest = max(len(example["token_ids"][0]) for example in examples)
    assert longest == options.max_caption_words + 2  # with the start and the end
