"""Images as they might have been too: in a mirror, or turned."""

import functools

import tensorflow as tf

from apps.image_captioning.config import AugmentConfig
from common.inputs import pipeline


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
    return {**example, "image": tf.ensure_shape(image, example["image"].shape)}
