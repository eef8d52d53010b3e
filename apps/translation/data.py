"""Records of texts with their translations -> padded batches.

A batch is a dict; `as_training` turns it into what `fit` takes:

    source_ids  int32   (batch, source_time)   <language> pieces <end>, PAD where there is none
    target_ids  int32   (batch, target_time)   <start> pieces <end>, likewise
    source, target, target_language   string (batch,), as in the data set
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from apps.translation import datasets
from apps.translation.config import DataConfig
from common.inputs import pipeline, subwords, text
from common.inputs.datasets import prepare
from common.inputs.subwords import Subwords
from common.inputs.text import Vocabulary
from common.runs.errors import UserError

_AT_ONCE = 512  # texts encoded together


class TrainingData(NamedTuple):
    """What `fit` needs of the data.

    Attributes:
        pieces: learned from the training texts.
        lengths: pieces of the longer side, by training pair.
        num_left_out: training pairs that are too long.
        examples: of the training split, without them.
        buckets: by that length.
        validation: one pass over the validation split.
    """

    pieces: Vocabulary
    lengths: list[int]
    num_left_out: int
    examples: tf.data.Dataset
    buckets: pipeline.Buckets
    validation: tf.data.Dataset

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        return pipeline.num_batches(self.lengths, self.buckets)

    def batches(self, *, seed: int, first_epoch: int = 0) -> tf.data.Dataset:
        """Endless shuffled batches; the order of an epoch is a function of (seed, epoch)."""
        return pipeline.training_batches(
            self.examples,
            buckets=self.buckets,
            length=_length,
            seed=seed,
            first_epoch=first_epoch,
            shuffle_buffer=50_000,
        )

    def summary(self) -> str:
        """One line for the log."""
        return (
            f"{len(self.lengths)} pairs, {self.num_left_out} longer ones left out, "
            f"{len(self.pieces)} pieces, {self.num_batches} batches an epoch"
        )


def load_split(config: DataConfig, split: str) -> tf.data.Dataset:
    """Streams the records (see datasets.py) of "train", "validation" or "test".

    Raises:
        UserError: the data set cannot be prepared, or has no such split.
    """
    builder = datasets.make_builder(config)
    prepare(builder, builder.broken)
    if split not in builder.info.splits:
        raise UserError(
            f"expected a {split} part of {config.name}, its files are not in {config.root}: "
            f"add them, or choose one of {', '.join(builder.info.splits)}"
        )
    records = builder.as_dataset(split=split, shuffle_files=False)
    if config.max_pairs is None or split == "test":
        return records
    return records.take(config.max_pairs if split == "train" else config.max_pairs // 8)


def learn_pieces(records: tf.data.Dataset, config: DataConfig) -> Vocabulary:
    """Learns the pieces of all languages together from the training texts.

    Raises:
        UserError: there is no record.
    """
    texts = []
    for batch in records.batch(_AT_ONCE):
        for side in ("source", "target"):
            texts += [line.decode() for line in subwords.normalise(batch[side]).numpy()]
    if not texts:
        raise UserError(
            f"expected training texts in {config.name}, found none: look at --data.root"
        )
    return subwords.learn(texts, num_pieces=config.num_pieces, extra=config.language_tokens)


def make_examples(
    records: tf.data.Dataset, pieces: Vocabulary, config: DataConfig
) -> tf.data.Dataset:
    """Encodes records; longer texts are cut after one piece more than `config.max_pieces`."""
    encoder, most = Subwords(pieces), config.max_pieces + 1
    first = pieces.tokens.index(config.language_tokens[0])

    def encode(batch: dict) -> dict[str, tf.Tensor]:
        places = tf.argmax(batch["target_language"][:, None] == config.target_languages, axis=1)
        begins = {
            "source": first + tf.cast(places, tf.int32),
            "target": tf.fill(tf.shape(places), text.START),
        }
        ids = {
            f"{side}_ids": subwords.framed(*encoder.encode(batch[side], max_pieces=most), begin)
            for side, begin in begins.items()
        }
        return {**batch, **ids}

    def cut(example: dict) -> dict[str, tf.Tensor]:
        sides = ("source_ids", "target_ids")
        return {**example, **{s: example[s][: tf.reduce_sum(_real(example[s]))] for s in sides}}

    batches = records.batch(_AT_ONCE).map(encode, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.unbatch().map(cut)


def make_training_data(config: DataConfig, *, tokens: int, batch_size: int) -> TrainingData:
    """Learns the pieces, and makes training and validation data.

    Args:
        config: which data.
        tokens: pieces in a training batch, see `pipeline.token_budget`.
        batch_size: of validation.

    Raises:
        UserError: see `load_split`; every pair is too long.
    """
    records = load_split(config, "train")
    pieces = learn_pieces(records, config)
    examples = make_examples(records, pieces, config)
    # A text that is cut has lost its end, and its translation would teach to stop early.
    examples = examples.filter(lambda example: _length(example) <= config.max_pieces + 1).cache()
    lengths = [int(length) for length in examples.map(_length).as_numpy_iterator()]
    num_pairs = int(records.cardinality())
    if not lengths:
        raise UserError(
            f"expected texts of at most {config.max_pieces} pieces, all {num_pairs} are longer: "
            "raise --data.max-pieces"
        )
    boundaries = sorted({int(np.quantile(lengths, share)) for share in np.arange(1, 10) / 10})
    held_back = load_split(config, "validation")
    validation = make_examples(held_back, pieces, config)
    return TrainingData(
        pieces,
        lengths,
        num_pairs - len(lengths),
        examples,
        pipeline.token_budget(boundaries, tokens=tokens, longest=max(lengths)),
        pipeline.evaluation_batches(
            validation, batch_size=batch_size, num_examples=int(held_back.cardinality())
        ),
    )


def _length(example: dict[str, tf.Tensor]) -> tf.Tensor:
    return tf.maximum(tf.size(example["source_ids"]), tf.size(example["target_ids"])) - 1


def _real(ids: tf.Tensor) -> tf.Tensor:
    return tf.cast(ids != text.PAD, tf.int32)


def as_training(batch: dict[str, tf.Tensor], *, inputs: Iterable[str]) -> tuple:
    """A batch as (inputs, target int32 (batch, time)): the next pieces, -1 where there is none.

    `inputs` are the names that the model takes; Keras would mix up any others.
    """
    after = batch["target_ids"][:, 1:]
    target = tf.where(after != text.PAD, after, -1)
    shifted = {
        "source_ids": batch["source_ids"],
        # The end is no input: what comes after it is nothing.
        "target_ids": tf.where(after != text.PAD, batch["target_ids"][:, :-1], text.PAD),
    }
    return {name: shifted[name] for name in inputs}, target
