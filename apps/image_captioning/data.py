"""Records of images with their captions -> padded batches.

A batch is a dict; `as_training` turns it into what `fit` takes:

    image       uint8   (batch, size, size, 3)                where the CNN is trained, or
    grid        float16 (batch, rows, columns, channels)      where its features were kept
    token_ids   int32   (batch, captions, time)   <start> words <end>, PAD where there is none
    token_mask  bool    (batch, captions, time)   True = real
    captions    string  (batch, captions), all of them; "" where there is none
    place       int64   (batch,), of the image in its split
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from apps.image_captioning import augment, datasets, features, ptb
from apps.image_captioning.config import Config, DataConfig
from common.inputs import images, pipeline, text
from common.inputs.text import Vocabulary
from common.runs.errors import UserError


class Survey(NamedTuple):
    """What one pass over the training captions tells."""

    words: Vocabulary
    lengths: list[int]  # words of the longest caption, by image
    num_captions: int
    num_cut: int  # captions longer than the limit

    @property
    def num_images(self) -> int:
        """Images with at least one caption."""
        return len(self.lengths)

    def summary(self) -> str:
        """One line for the log."""
        cut = f", {self.num_cut} cut" if self.num_cut else ""
        return (
            f"{self.num_images} images, {self.num_captions} captions{cut}, {len(self.words)} words"
        )


class Split(NamedTuple):
    """Records of a split, and a name for their state."""

    records: tf.data.Dataset
    state: str


def load_split(config: DataConfig, split: str) -> Split:
    """Streams the records of "train", "validation" or "test" (see datasets.py).

    Raises:
        UserError: the data set cannot be prepared, or has no such split.
    """
    builder, splits = datasets.make_builder(
        config.name,
        root=config.root,
        cache_dir=config.cache_dir,
        beam=config.beam,
        max_images=config.max_images,
    )
    if split not in splits:
        raise UserError(
            f"expected a {split} part of {config.name}, its files are not in "
            f"{config.root}: add them, or choose one of {', '.join(splits)}"
        )
    records = datasets.read(builder, splits[split])
    state = f"{builder.info.full_name} {splits[split]}"
    # Of the emoji, no more than wanted have been drawn.
    if config.max_images is None or split == "test" or config.name == "emoji":
        return Split(records, state)
    count = config.max_images if split == "train" else config.max_images // 8
    return Split(records.take(count), f"{state} first {count}")


def survey(records: tf.data.Dataset, config: DataConfig) -> Survey:
    """Reads the training captions once: vocabulary, and the lengths that batches depend on.

    Raises:
        UserError: there is no record, or no word.
    """
    counts: Counter[str] = Counter()
    lengths, num_captions, num_cut = [], 0, 0
    for captions in records.map(lambda record: record["captions"]).as_numpy_iterator():
        split = [ptb.tokenize(one.decode()) for one in captions[: config.captions_per_image]]
        words = [len(one) for one in split]
        counts.update(word for one in split for word in one)
        num_captions += len(words)
        num_cut += sum(one > config.max_caption_words for one in words)
        lengths.append(min(max(words), config.max_caption_words))
    if not counts:
        raise UserError(
            f"expected training images with captions in {config.name}, found none: "
            "look at --data.root"
        )
    words = Vocabulary.of_words(counts, min_count=config.min_word_count)
    return Survey(words, lengths, num_captions, num_cut)


def make_examples(
    records: tf.data.Dataset, words: Vocabulary, config: DataConfig, *, image_size: int | None
) -> tf.data.Dataset:
    """Encodes records; with an `image_size` the decoded images are part of the examples."""
    table = words.make_table(unknown=text.UNK)

    def tokenize(captions: np.ndarray) -> np.ndarray:
        return np.array([" ".join(ptb.tokenize(one.decode())).encode() for one in captions], object)

    def encode(place: tf.Tensor, record: dict) -> dict[str, tf.Tensor]:
        captions = record["captions"][: config.captions_per_image]
        tokens = tf.numpy_function(tokenize, [captions], tf.string)  # never in the SavedModel
        split = tf.strings.split(tf.ensure_shape(tokens, [None]))[:, : config.max_caption_words]
        outer = tf.fill([split.nrows(), 1], text.START)
        ids = tf.concat([outer, table.lookup(split), tf.fill([split.nrows(), 1], text.END)], axis=1)
        example = {
            "token_ids": ids.to_tensor(text.PAD),
            "token_mask": tf.sequence_mask(ids.row_lengths()),
            "captions": record["captions"],
            "place": place,
        }
        if image_size is not None:
            example["image"] = images.decode_and_resize(record["image"], image_size)
        return example

    return records.enumerate().map(encode, num_parallel_calls=tf.data.AUTOTUNE)


class TrainingData:
    """Batches for `fit`.

    Args:
        config: all options.
        found: what `survey` found in the training split.
        split: the training split.
        encoder: of the network; where it is frozen and no image is changed, its features are
            computed first.
    """

    def __init__(self, config: Config, found: Survey, split: Split, encoder: keras.Model):
        self.config, self.found = config, found
        self.buckets = make_buckets(found.lengths, batch_size=config.train.batch_size)
        self.change = augment.make_change(config.augment)
        seen_anew = config.model.train_image_encoder or self.change is not None
        examples = make_examples(
            split.records,
            found.words,
            config.data,
            image_size=config.model.image_size if seen_anew else None,
        )
        # Captions alone fit into memory.
        self.examples = examples if seen_anew else examples.cache()
        self.features = None if seen_anew else see(split, config.data, encoder)
        self.encoder = encoder

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        return pipeline.num_batches(self.found.lengths, self.buckets)

    def batches(self, *, first_epoch: int = 0) -> tf.data.Dataset:
        """Endless shuffled batches; the order of an epoch is a function of (seed, epoch)."""
        batches = pipeline.training_batches(
            self.examples,
            buckets=self.buckets,
            length=lambda example: tf.shape(example["token_ids"])[1] - 2,
            seed=self.config.train.seed,
            first_epoch=first_epoch,
            change=self.change,
        )
        if self.features is not None:
            return self.features.add_to(batches)
        return batches if self.config.model.train_image_encoder else batches.map(self._look)

    def _look(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        grid = self.encoder(batch["image"], training=False)
        return {**batch, "grid": tf.cast(grid, tf.float16)}  # as from disk


def make_batches(
    split: Split, words: Vocabulary, config: Config, encoder: keras.Model
) -> tf.data.Dataset:
    """One pass over a split (see the module) in a fixed order; kept features where it is frozen."""
    trained = config.model.train_image_encoder
    examples = make_examples(
        split.records,
        words,
        config.data,
        image_size=config.model.image_size if trained else None,
    )
    batches = pipeline.evaluation_batches(examples, batch_size=config.train.batch_size)
    return batches if trained else see(split, config.data, encoder).add_to(batches)


def see(split: Split, config: DataConfig, encoder: keras.Model) -> features.Features:
    """The features of a split's images, from disk where they were computed before."""
    return features.compute(
        split.records.map(lambda record: record["image"]),
        encoder,
        image_size=encoder.input.shape[1],
        data=split.state,
        cache_dir=Path(config.cache_dir or tfds.core.constants.DATA_DIR).expanduser(),
    )


def make_buckets(lengths: list[int], *, batch_size: int) -> pipeline.Buckets:
    """Three buckets of like size; more would leave many small batches at an epoch's end."""
    boundaries = {int(np.quantile(lengths, share)) for share in (1 / 3, 2 / 3)}
    return pipeline.equal_batches(sorted(boundaries), batch_size=batch_size)


def as_training(batch: dict[str, tf.Tensor], *, inputs: Iterable[str]) -> tuple:
    """A batch as (inputs, target int32 (batch, captions, time)): the next words, -1 where none is.

    The inputs lack the last step, which has no next word; `inputs` are the names that the model
    takes, Keras would mix up any others.
    """
    real = batch["token_mask"][..., 1:]
    target = tf.where(real, batch["token_ids"][..., 1:], -1)
    shifted = {**batch, "token_ids": batch["token_ids"][..., :-1], "token_mask": real}
    return {name: shifted[name] for name in inputs}, target
