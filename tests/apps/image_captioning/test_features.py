"""Features on disk: computed once for what they depend on, and again where they are damaged."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from apps.image_captioning.captioning import features

from .conftest import encoded_image

NUM_IMAGES = 70


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(features, "SHARD", 32)


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(1)
    pixels = keras.Input((8, 8, 3))
    return keras.Model(pixels, keras.layers.Conv2D(5, 4, 4)(pixels), name="eye")


class Images:
    """Counts how often images are read."""

    def __init__(self):
        self.num_read = 0

    def data(self) -> tf.data.Dataset:
        def read(seed):
            self.num_read += 1
            return encoded_image(int(seed), (9, 7))

        return tf.data.Dataset.range(NUM_IMAGES).map(
            lambda seed: tf.ensure_shape(tf.numpy_function(read, [seed], tf.string), [])
        )


def compute(encoder, images, folder, **changed):
    options = {"image_size": 8, "data": "seventy images", "cache_dir": folder, **changed}
    return features.compute(images.data(), encoder, **options)


def test_features_are_those_of_the_encoder_in_half_precision(encoder, tmp_path):
    from common.inputs import images

    stored = compute(encoder, Images(), tmp_path).read(np.array([69, 0, 33]))
    pixels = [images.decode_and_resize(encoded_image(n, (9, 7)), 8) for n in (69, 0, 33)]
    np.testing.assert_allclose(stored, encoder(np.stack(pixels)), rtol=2e-3, atol=1e-2)
    assert stored.dtype == np.float16


def test_a_second_time_no_image_is_read(encoder, tmp_path):
    images = Images()
    first = compute(encoder, images, tmp_path)
    second = compute(encoder, images, tmp_path)
    assert (images.num_read, second.num_images, second.folder) == (70, 70, first.folder)


def test_an_interrupted_computation_goes_on_after_its_last_whole_shard(encoder, tmp_path):
    images = Images()
    whole = compute(encoder, images, tmp_path)
    before = whole.read(np.arange(NUM_IMAGES))
    (whole.folder / "features.json").unlink()
    (whole.folder / "00002.npy").unlink()
    images.num_read = 0
    np.testing.assert_array_equal(
        compute(encoder, images, tmp_path).read(np.arange(NUM_IMAGES)), before
    )
    assert images.num_read <= NUM_IMAGES
    assert not list(whole.folder.glob(".*"))


@pytest.mark.parametrize("shard", [0, 1, 2])
def test_a_damaged_shard_is_made_anew(encoder, tmp_path, shard):
    whole = compute(encoder, Images(), tmp_path)
    before = whole.read(np.arange(NUM_IMAGES))
    path = whole.folder / f"0000{shard}.npy"
    path.write_bytes(path.read_bytes()[:-9])
    again = compute(encoder, Images(), tmp_path)
    np.testing.assert_array_equal(again.read(np.arange(NUM_IMAGES)), before)


def test_other_weights_data_and_sizes_have_folders_of_their_own(encoder, tmp_path):
    folders = {compute(encoder, Images(), tmp_path).folder}
    folders.add(compute(encoder, Images(), tmp_path, data="others").folder)
    weights = encoder.get_weights()
    encoder.set_weights([weight + 1 for weight in weights])
    folders.add(compute(encoder, Images(), tmp_path).folder)
    encoder.set_weights(weights)
    assert len(folders) == 3


def test_batches_get_the_grids_of_their_places(encoder, tmp_path):
    stored = compute(encoder, Images(), tmp_path)
    places = tf.data.Dataset.from_tensor_slices({"place": [5, 60, 31, 32]}).batch(3)
    batches = list(stored.add_to(places))
    assert batches[0]["grid"].shape == (3, 2, 2, 5)
    np.testing.assert_array_equal(batches[1]["grid"], stored.read(np.array([32])))
