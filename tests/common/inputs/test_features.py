"""Features on disk: computed once for what they depend on, and read by the place of an image."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.inputs import features, images

NUM_IMAGES = 40  # more than a batch


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(1)
    pixels = keras.Input((8, 8, 3))
    return keras.Model(pixels, keras.layers.Conv2D(5, 4, 4)(pixels), name="eye")


@pytest.fixture(scope="module")
def encoded() -> list[bytes]:
    return [noise(seed) for seed in range(NUM_IMAGES)]


def noise(seed: int) -> bytes:
    pixels = tf.random.stateless_uniform((7, 9, 3), [seed, 0], maxval=256, dtype=tf.int32)
    return tf.io.encode_png(tf.cast(pixels, tf.uint8)).numpy()


def compute(encoder, encoded, folder, data="forty images") -> features.Features:
    records = tf.data.Dataset.from_tensor_slices({"image": encoded})
    return features.compute(records, encoder, data=data, cache_dir=folder)


def test_batches_get_the_grids_of_their_places_in_half_precision(encoder, encoded, tmp_path):
    places = [39, 0, 33]
    dataset = tf.data.Dataset.from_tensor_slices({"place": places}).batch(3)
    (batch,) = compute(encoder, encoded, tmp_path).add_to(dataset)
    pixels = [images.decode_and_resize(encoded[place], 8) for place in places]
    assert batch["grid"].dtype == tf.float16
    np.testing.assert_allclose(batch["grid"], encoder(np.stack(pixels)), rtol=2e-3, atol=1e-2)


def test_features_are_kept_for_the_same_weights_and_data(encoder, encoded, tmp_path):
    first = compute(encoder, encoded, tmp_path).values
    # A second time no image is read.
    np.testing.assert_array_equal(compute(encoder, [b"no image"], tmp_path).values, first)
    compute(encoder, encoded[:1], tmp_path, data="others")
    weights = encoder.get_weights()
    encoder.set_weights([weight + 1 for weight in weights])
    assert not np.array_equal(compute(encoder, encoded, tmp_path).values, first)
    encoder.set_weights(weights)
    assert len(list((tmp_path / "features").iterdir())) == 3


def test_an_interrupted_computation_leaves_nothing(encoder, encoded, tmp_path):
    with pytest.raises(tf.errors.InvalidArgumentError):
        compute(encoder, [*encoded, b"no image"], tmp_path)
    assert not list((tmp_path / "features").iterdir())
    assert len(compute(encoder, encoded, tmp_path).values) == NUM_IMAGES
