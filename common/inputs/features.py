"""What a frozen CNN sees in each image, computed once: float16 features in a file on disk.

The name of the file tells the encoder, a checksum of its weights, the size of the images and the
data with its code, so that features of others are never taken for these. It is written whole or not
at all. Memory holds one batch of features, when they are made and when they are read.
"""

import hashlib
import json
import logging
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from common.inputs import images
from common.runs import cli, files

logger = logging.getLogger("cellstate")

_BATCH = 32


class Features:
    """Features on disk, by the place of their image in the data set.

    Attributes:
        values: float16 (images, ...), such as grids (images, rows, columns, channels).
    """

    def __init__(self, path: Path):
        self.values = np.load(path, mmap_mode="r")

    def add_to(self, batches: tf.data.Dataset, name: str = "grid") -> tf.data.Dataset:
        """Batches with "place" (batch,) get their features, float16 (batch, ...), as `name`."""

        def read(places: np.ndarray) -> np.ndarray:
            return np.asarray(self.values[places])

        def add(batch: dict) -> dict:
            values = tf.numpy_function(read, [batch["place"]], tf.float16, stateful=False)
            return {**batch, name: tf.ensure_shape(values, [None, *self.values.shape[1:]])}

        return batches.map(add, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def compute(
    records: tf.data.Dataset, encoder: keras.Model, *, data: str, cache_dir: Path | None
) -> Features:
    """The features of all images, from disk if they are there.

    Args:
        records: with "image", the bytes of a file, in a fixed order, of known number.
        encoder: pixels (batch, size, size, 3) -> features (batch, ...).
        data: names the images: what set, in which state, read by which code, which part.
        cache_dir: the folder "features" in it keeps them; by default that of tensorflow-datasets.
    """
    image_size = encoder.input.shape[1]
    digest = hashlib.sha256(json.dumps([encoder.name, image_size, data]).encode())
    for weight in encoder.weights:
        digest.update(np.ascontiguousarray(weight).data)
    folder = Path(cache_dir or tfds.core.constants.DATA_DIR).expanduser()
    path = folder / "features" / f"{digest.hexdigest()[:16]}.npy"
    if path.exists():
        return Features(path)
    pixels = records.map(
        lambda record: images.decode_and_resize(record["image"], image_size),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    encode, begun = _with_constant_weights(encoder), time.monotonic()
    shape = (int(records.cardinality()), *encoder.output.shape[1:])
    with files.replacing(path) as temporary:
        values = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
        for number, batch in enumerate(
            cli.progress(pixels.batch(_BATCH).prefetch(2), "batches of features")
        ):
            values[number * _BATCH : (number + 1) * _BATCH] = encode(batch)
        values.flush()
    seconds = time.monotonic() - begun
    logger.info("features of %s: %d images in %.0f s, kept in %s", data, len(values), seconds, path)
    return Features(path)


def _with_constant_weights(encoder: keras.Model) -> tf.types.experimental.PolymorphicFunction:
    """The encoder as constants: so TensorFlow joins batch normalisations with convolutions."""
    kinds = (encoder.trainable_variables, encoder.non_trainable_variables)
    weights = [[variable.numpy() for variable in variables] for variables in kinds]

    @tf.function
    def encode(batch):
        constants = [[tf.constant(value) for value in values] for values in weights]
        return tf.cast(encoder.stateless_call(*constants, batch, training=False)[0], tf.float16)

    return encode
