"""The image encoder: colours of regions, and which layers are trained."""

import numpy as np
import pytest

from apps.image_captioning.captioning.encoder import RegionColours, make_image_encoder, thaw
from apps.image_captioning.config import ModelConfig
from common.runs.errors import UserError


def test_an_even_colour_is_known_exactly_from_its_histogram():
    colour = np.array([247.0, 222.0, 60.0])
    pixels = np.broadcast_to(colour, (1, 20, 20, 3))
    values = np.asarray(RegionColours(2, 2, bins=5)(pixels))
    histogram = (values / 4).reshape(2, 2, 5, 5, 5) ** 2
    np.testing.assert_allclose(histogram.sum((2, 3, 4)), 1, rtol=1e-5)
    places = np.arange(5) * 255 / 4
    for channel, others in enumerate([(3, 4), (2, 4), (2, 3)]):
        np.testing.assert_allclose(histogram.sum(others) @ places, colour[channel], rtol=1e-4)


def test_a_region_has_the_colours_of_its_own_part_of_the_image():
    pixels = np.zeros((1, 32, 32, 3))
    pixels[:, :16, 16:] = 255
    histogram = (np.asarray(RegionColours(2, 2, bins=2)(pixels)) / 4) ** 2
    np.testing.assert_allclose(histogram[0, :, :, 0], [[1, 0], [1, 1]])
    np.testing.assert_allclose(histogram[0, :, :, -1], [[0, 1], [0, 0]])


def test_the_last_blocks_are_trained_and_their_statistics_stay():
    encoder = make_image_encoder(
        ModelConfig(image_size=32, train_image_encoder=True, train_encoder_from="blocks-15")
    )
    trained = {weight.path.split("/")[0] for weight in encoder.trainable_weights}
    assert trained == {
        *(f"blocks-15-{part}_conv" for part in ("expand", "depthwise", "project")),
        "conv_head",
    }
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3))
    np.testing.assert_array_equal(encoder(pixels, training=True), encoder(pixels, training=False))
    with pytest.raises(UserError, match=r"begins with 'block99', its last ones are .*conv_head"):
        thaw(encoder, "block99", keep_statistics=True)
