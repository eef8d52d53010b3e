"""What a frozen CNN sees in each image, computed once: float16 grids in shards on disk.

The folder's name tells the encoder, a checksum of its weights, the size and scaling of the images
and the data, so that features of others are never taken for these. Shards are written whole, and
their list last: an interrupted computation continues, and a damaged shard is computed again.
Memory holds one shard while they are made and one batch while they are read.
"""

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from common.inputs import images
from common.runs import cli, files

logger = logging.getLogger("cellstate")

SHARD = 512  # images
_BATCH = 32
_SCALING = (
    "sides apart, bilinear, antialias"  # of common.inputs.images; a change there needs another word
)


class Features:
    """Grids on disk, read by the place of their image in the data set."""

    def __init__(self, folder: Path, *, shape: tuple[int, int, int], num_images: int):
        self.folder, self.shape, self.num_images = folder, shape, num_images

    def read(self, places: np.ndarray) -> np.ndarray:
        """Places int (batch,) -> float16 (batch, rows, columns, channels)."""
        grids = np.empty((len(places), *self.shape), np.float16)
        shards = places // SHARD
        for shard in np.unique(shards):
            here = shards == shard
            grids[here] = np.load(_path(self.folder, shard), mmap_mode="r")[places[here] % SHARD]
        return grids

    def add_to(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Batches with "place" (batch,) get "grid" (batch, rows, columns, channels) float16."""

        def add(batch: dict) -> dict:
            grid = tf.numpy_function(self.read, [batch["place"]], tf.float16, stateful=False)
            return {**batch, "grid": tf.ensure_shape(grid, [None, *self.shape])}

        return batches.map(add, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def compute(
    encoded: tf.data.Dataset, encoder: keras.Model, *, image_size: int, data: str, cache_dir: Path
) -> Features:
    """The features of all images, from disk as far as they are there.

    Args:
        encoded: strings (), one image each, in a fixed order.
        encoder: pixels (batch, size, size, 3) -> grid (batch, rows, columns, channels).
        image_size: of the pixels.
        data: names the images: what set, in which state, which part.
        cache_dir: the folder "features" in it keeps them.
    """
    key = {
        "encoder": encoder.name,
        "weights": checksum(encoder),
        "image_size": image_size,
        "scaling": _SCALING,
        "data": data,
    }
    folder = cache_dir / "features" / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    shape = tuple(encoder.output.shape[1:])
    done = _num_whole(folder, shape)
    manifest = folder / "features.json"
    num_images = files.read_json(manifest)["num_images"] if manifest.exists() else None
    if num_images is not None and done == -(-num_images // SHARD):
        return Features(folder, shape=shape, num_images=num_images)
    done -= done > 0 and len(np.load(_path(folder, done - 1), mmap_mode="r")) < SHARD
    begun, skipped = time.monotonic(), done * SHARD
    pixels = encoded.skip(skipped).map(
        lambda image: images.decode_and_resize(image, image_size),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    num_images = skipped
    for grids in cli.progress(_shards(pixels, encoder), "shards of features"):
        with files.replacing(_path(folder, done)) as temporary, temporary.open("wb") as file:
            np.save(file, grids)
        done, num_images = done + 1, num_images + len(grids)
    files.write_json(manifest, {**key, "num_images": num_images})
    logger.info(
        "features of %s: %d of %d images in %.0f s, kept in %s",
        *(data, num_images - skipped, num_images, time.monotonic() - begun, folder),
    )
    return Features(folder, shape=shape, num_images=num_images)


def checksum(encoder: keras.Model) -> str:
    """SHA-256 of all weights."""
    digest = hashlib.sha256()
    for weight in encoder.weights:
        digest.update(np.ascontiguousarray(weight).data)
    return digest.hexdigest()


def _shards(pixels: tf.data.Dataset, encoder: keras.Model) -> Iterator[np.ndarray]:
    kinds = (encoder.trainable_variables, encoder.non_trainable_variables)
    weights = [[variable.numpy() for variable in variables] for variables in kinds]

    @tf.function
    def encode(batch):
        # As constants of the graph: so TensorFlow joins batch normalisations with convolutions.
        constants = [[tf.constant(value) for value in values] for values in weights]
        return tf.cast(encoder.stateless_call(*constants, batch, training=False)[0], tf.float16)

    for shard in pixels.batch(_BATCH).prefetch(2).window(SHARD // _BATCH):
        yield np.concatenate([encode(batch).numpy() for batch in shard])


def _num_whole(folder: Path, shape: tuple[int, ...]) -> int:
    """How many shards from the first on are there and whole; what follows a gap is made anew."""
    number = 0
    while _path(folder, number).exists():
        try:
            grids = np.load(_path(folder, number), mmap_mode="r")
        except (ValueError, EOFError):  # cut short, or no array at all
            break
        if grids.shape[1:] != shape or grids.dtype != np.float16:
            break
        number += 1
    return number


def _path(folder: Path, shard: int) -> Path:
    return folder / f"{shard:05d}.npy"
