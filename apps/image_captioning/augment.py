"""Images as they might have been too: in a mirror, turned, or drawn by another hand.

Another hand draws smaller or larger, in other colours and with other lines; who has seen that
reads its drawings too (domain randomisation: Tobin et al. 2017, https://arxiv.org/abs/1703.06907).
"""

import functools

import keras
import tensorflow as tf

from apps.image_captioning.config import AugmentConfig
from common.inputs import pipeline

# How `redraw` changes images: ranges that numbers are drawn from, and shares of the images.
_SCALES = (0.55, 1.1)
_STRETCH = (-0.15, 0.15)  # of width and height against each other, as a logarithm
_TILT = (-0.2, 0.2)  # radians
_COLOURED, _SATURATIONS, _GAMMAS, _HUES = 0.5, (0.4, 1.8), (0.7, 1.5), (-0.04, 0.04)
_OTHER_HUES, _GREY = 0.1, 0.08
_PALE, _STRENGTHS = 0.25, (0.2, 0.9)
_OUTLINED, _WIDTHS, _CONTRASTS, _SLOPES, _INKS = 0.75, (2, 3, 4), (0.08, 0.35), (4, 12), (0, 0.15)


def make_change(config: AugmentConfig) -> pipeline.Change | None:
    """What `pipeline.training_batches` does to each example; None where nothing is changed."""
    return None if config == AugmentConfig() else functools.partial(_change, config=config)


def _change(example: pipeline.Example, seed: tf.Tensor, *, config: AugmentConfig):
    image = example["image"]  # (size, size, 3)
    drawn = tf.random.stateless_uniform([2], seed, maxval=4, dtype=tf.int32)
    if config.mirror:
        image = tf.cond(drawn[0] < 2, lambda: image, lambda: tf.reverse(image, [1]))
    if config.turn:
        image = tf.image.rot90(image, drawn[1])
    image = tf.ensure_shape(image, example["image"].shape)
    if config.redraw:
        image = redraw(image, seed)
    return {**example, "image": image}


def redraw(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """An image uint8 (size, size, 3) as another hand may have drawn it on white, of the same kind.

    Each image is scaled, shifted, stretched and tilted; some have other colours, are pale or grey;
    most get a dark outline wherever colours meet.
    """
    colours, place, lines = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
    unit = tf.cast(image, tf.float32) / 255
    unit = _outline(_place(_recolour(unit, colours), place), lines)
    return tf.cast(tf.round(255 * unit), tf.uint8)


def _recolour(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    drawn = tf.random.stateless_uniform([9], seed)

    def change(image):
        image = tf.image.adjust_hue(image, _between(_HUES, drawn[5]))
        image = tf.image.adjust_saturation(image, _between(_SATURATIONS, drawn[6]))
        return tf.clip_by_value(image, 0, 1) ** _between(_GAMMAS, drawn[7])

    def fade(image):
        return 1 - _between(_STRENGTHS, drawn[8]) * (1 - image)

    def turn_grey(image):
        return tf.repeat(tf.image.rgb_to_grayscale(image), 3, -1)

    image = tf.cond(drawn[0] < _COLOURED, lambda: change(image), lambda: image)
    turned = tf.where(drawn[1] < _OTHER_HUES, drawn[2] - 0.5, 0.0)
    image = tf.cond(turned != 0, lambda: tf.image.adjust_hue(image, turned), lambda: image)
    image = tf.cond(drawn[3] < _PALE, lambda: fade(image), lambda: image)
    return tf.cond(drawn[4] < _GREY, lambda: turn_grey(image), lambda: image)


def _place(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    drawn = tf.random.stateless_uniform([5], seed)
    size = image.shape[0]
    scale, stretch = _between(_SCALES, drawn[0]), tf.exp(_between(_STRETCH, drawn[1]))
    scale_x, scale_y = scale * stretch, scale / stretch
    tilt = _between(_TILT, drawn[2])
    # Shifted by as much as leaves a smaller drawing whole.
    shift_x = (drawn[3] - 0.5) * tf.abs(1 - scale_x) * size
    shift_y = (drawn[4] - 0.5) * tf.abs(1 - scale_y) * size
    # Of each pixel of the result, where in the image it comes from.
    row_x = (tf.cos(tilt) / scale_x, -tf.sin(tilt) / scale_x)
    row_y = (tf.sin(tilt) / scale_y, tf.cos(tilt) / scale_y)
    middle = size / 2
    rows = [
        (a, b, middle - a * (middle + shift_x) - b * (middle + shift_y)) for a, b in (row_x, row_y)
    ]
    transform = tf.stack([*rows[0], *rows[1], 0.0, 0.0])
    moved = keras.ops.image.affine_transform(
        image, transform, fill_value=1.0, data_format="channels_last"
    )
    return tf.convert_to_tensor(moved)


def _outline(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    drawn = tf.random.stateless_uniform([5], seed)

    def contrast(width):
        """The largest difference of a colour in squares so wide (size, size, 1)."""
        most, least = (
            sign * tf.nn.max_pool2d(sign * image[None], width, 1, "SAME") for sign in (1, -1)
        )
        return tf.reduce_max(most - least, -1, keepdims=True)[0]

    def draw():
        choice = tf.cast(drawn[1] * len(_WIDTHS), tf.int32)
        found = tf.switch_case(choice, [functools.partial(contrast, width) for width in _WIDTHS])
        line = (found - _between(_CONTRASTS, drawn[2])) * _between(_SLOPES, drawn[3])
        line = tf.clip_by_value(line, 0, 1)
        return image * (1 - line) + _between(_INKS, drawn[4]) * line

    return tf.cond(drawn[0] < _OUTLINED, draw, lambda: image)


def _between(bounds: tuple[float, float], drawn: tf.Tensor) -> tf.Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * drawn
