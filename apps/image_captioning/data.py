"""Records of images with their captions -> padded batches.

A batch is a dict; `as_training` turns it into what `fit` takes:

    image       uint8   (batch, size, size, 3)                where the CNN is trained, or
    grid        float16 (batch, rows, columns, channels)      of a frozen CNN, from disk
    token_ids   int32   (batch, captions, time)   <start> words <end>, PAD where there is none
    token_mask  bool    (batch, captions, time)   True = real
    captions    string  (batch, captions), all of them; "" where there is none
    place       int64   (batch,), of the image in its split
"""

import functools
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from apps.image_captioning import datasets
from apps.image_captioning.config import AugmentConfig, Config, DataConfig
from apps.image_captioning.corpora import ptb
from common.inputs import features, images, pipeline, text
from common.inputs.text import Vocabulary
from common.runs.errors import UserError


class Survey(NamedTuple):
    """What one pass over the training captions tells."""

    words: Vocabulary
    lengths: list[int]  # words of the longest caption, by image
    num_captions: int
    num_cut: int  # captions longer than the limit


class Split(NamedTuple):
    """Records of a split, and a name for their state."""

    records: tf.data.Dataset
    state: str


class TrainingData(NamedTuple):
    """What `fit` needs of the data.

    Attributes:
        survey: of the training captions.
        examples: of the training split, with images where the encoder sees them anew each epoch.
        buckets: by the length of the captions.
        change: what augmentation does to an example, if anything.
        add_grids: adds the grids of a frozen CNN to batches.
        in_order: one pass over the training split in its order, for the nearest neighbours.
        validation: one pass over the validation split.
    """

    survey: Survey
    examples: tf.data.Dataset
    buckets: pipeline.Buckets
    change: pipeline.Change | None
    add_grids: Callable[[tf.data.Dataset], tf.data.Dataset] | None
    in_order: tf.data.Dataset
    validation: tf.data.Dataset

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        return pipeline.num_batches(self.survey.lengths, self.buckets)

    def batches(self, *, seed: int, first_epoch: int = 0) -> tf.data.Dataset:
        """Endless shuffled batches; the order of an epoch is a function of (seed, epoch)."""
        batches = pipeline.training_batches(
            self.examples,
            buckets=self.buckets,
            length=lambda example: tf.shape(example["token_ids"])[1] - 2,
            seed=seed,
            first_epoch=first_epoch,
            change=self.change,
        )
        return batches if self.add_grids is None else self.add_grids(batches)

    def summary(self) -> str:
        """One line for the log."""
        words, lengths, num_captions, num_cut = self.survey
        sizes = f"{len(lengths)} images, {num_captions} captions, {num_cut} of them cut"
        return f"{sizes}, {len(words)} words"


def load_split(config: DataConfig, split: str) -> Split:
    """Streams the records of "train", "validation" or "test" (see datasets.py).

    Raises:
        UserError: the data set cannot be prepared, or has no such split.
    """
    builder = datasets.make_builder(config)
    if split not in builder.info.splits:
        raise UserError(
            f"expected a {split} part of {config.name}, its files are not in "
            f"{config.root}: add them, or choose one of {', '.join(builder.info.splits)}"
        )
    still_encoded = {"image": tfds.decode.SkipDecoding()}
    records = builder.as_dataset(split=split, decoders=still_encoded, shuffle_files=False)
    state = f"{builder.info.full_name} {split}"
    # Of the emoji, `make_builder` has drawn no more than `max_images`.
    if config.max_images is None or split == "test" or config.name == "emoji":
        return Split(records, state)
    count = config.max_images if split == "train" else config.max_images // 8
    return Split(records.take(count), f"{state} first {count}")


def make_training_data(config: Config, encoder: keras.Model) -> TrainingData:
    """Prepares training and validation data, and the features of a frozen CNN.

    Raises:
        UserError: see `load_split` and `survey`.
    """
    split, validation = (load_split(config.data, name) for name in ("train", "validation"))
    facts = survey(split.records, config.data)
    make = functools.partial(make_batches, words=facts.words, config=config, encoder=encoder)
    along, change = config.model.train_image_encoder, make_change(config.augment)
    size = config.model.image_size if along or change else None
    examples = make_examples(split.records, facts.words, config.data, image_size=size)

    def see(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        grid = encoder(batch["image"], training=False)
        return {**batch, "grid": tf.cast(grid, tf.float16)}  # as from disk

    if along:
        add_grids = None
    elif change:
        add_grids = functools.partial(tf.data.Dataset.map, map_func=see)
    else:  # features are computed once, and captions fit into memory
        examples, add_grids = examples.cache(), load_features(split, config.data, encoder).add_to
    return TrainingData(
        survey=facts,
        examples=examples,
        buckets=make_buckets(facts.lengths, batch_size=config.train.batch_size),
        change=change,
        add_grids=add_grids,
        in_order=make(split),
        validation=make(validation),
    )


def survey(records: tf.data.Dataset, config: DataConfig) -> Survey:
    """Reads the training captions once: vocabulary, and the lengths that batches depend on.

    Raises:
        UserError: there is no record, or no word.
    """
    counts: Counter[str] = Counter()
    lengths, num_captions, num_cut = [], 0, 0
    for captions in records.map(lambda record: record["captions"]).as_numpy_iterator():
        split = [
            ptb.tokenize(caption.decode()) for caption in captions[: config.captions_per_image]
        ]
        sizes = [len(words) for words in split]
        counts.update(word for words in split for word in words)
        num_captions += len(sizes)
        num_cut += sum(size > config.max_caption_words for size in sizes)
        lengths.append(min(max(sizes), config.max_caption_words))
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
        split = [ptb.tokenize(caption.decode()) for caption in captions]
        return np.array([" ".join(words).encode() for words in split], object)

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


def make_batches(
    split: Split, words: Vocabulary, config: Config, encoder: keras.Model
) -> tf.data.Dataset:
    """One pass over a split in a fixed order; with grids where the encoder is frozen."""
    along = config.model.train_image_encoder
    size = config.model.image_size if along else None
    examples = make_examples(split.records, words, config.data, image_size=size)
    batches = pipeline.evaluation_batches(examples, batch_size=config.train.batch_size)
    return batches if along else load_features(split, config.data, encoder).add_to(batches)


def load_features(split: Split, config: DataConfig, encoder: keras.Model) -> features.Features:
    """The features of a split's images, from disk where they were computed before."""
    return features.compute(split.records, encoder, data=split.state, cache_dir=config.cache_dir)


def make_buckets(lengths: list[int], *, batch_size: int) -> pipeline.Buckets:
    """Three buckets of like size; more would leave many small batches at an epoch's end."""
    boundaries = {int(np.quantile(lengths, share)) for share in (1 / 3, 2 / 3)}
    return pipeline.equal_batches(sorted(boundaries), batch_size=batch_size)


def make_change(config: AugmentConfig) -> pipeline.Change | None:
    """What augmentation does to each example, drawn anew in each epoch; None if nothing."""
    if config == AugmentConfig():
        return None

    def change(example: pipeline.Example, seed: tf.Tensor) -> pipeline.Example:
        image = example["image"]  # (size, size, 3)
        drawn = tf.random.stateless_uniform([2], seed, maxval=4, dtype=tf.int32)
        if config.mirror:
            image = tf.cond(drawn[0] < 2, lambda: image, lambda: tf.reverse(image, [1]))
        if config.turn:
            image = tf.image.rot90(image, drawn[1])
        return {**example, "image": tf.ensure_shape(image, example["image"].shape)}

    return change


def as_training(batch: dict[str, tf.Tensor], *, inputs: Iterable[str]) -> tuple:
    """A batch as (inputs, target int32 (batch, captions, time)): the next words, -1 where none is.

    The inputs lack the last step, which has no next word; `inputs` are the names that the model
    takes, Keras would mix up any others.
    """
    real = batch["token_mask"][..., 1:]
    target = tf.where(real, batch["token_ids"][..., 1:], -1)
    shifted = {**batch, "token_ids": batch["token_ids"][..., :-1], "token_mask": real}
    return {name: shifted[name] for name in inputs}, target
