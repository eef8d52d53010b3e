"""Records of utterances -> padded batches of frames.

A batch is a dict; `as_training` turns it into what `fit` takes:

    features        float32 (batch, frames, dim)    zeros where there is none
    frame_mask      bool    (batch, frames)         True = real
    phone_id        int32   (batch, frames)         among the classes; -1 = not scored in training
    reference_id    int32   (batch, frames)         among TIMIT's 61; -1 = no label
    phone, start            string, int64 (batch, phones), samples; "" where there is none
    utterance_id, speaker   string (batch,)

The phone of a frame is the one in the middle of its 10 ms.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from apps.phoneme_tagging import datasets
from apps.phoneme_tagging.config import DataConfig, ModelConfig
from apps.phoneme_tagging.phones import PHONES_61, fold
from common import audio, pipeline
from common.errors import UserError
from common.text import Vocabulary


class Survey(NamedTuple):
    """What one pass over the training split tells."""

    phones: Vocabulary  # the classes that occur in training
    mean: np.ndarray  # float32 (dim,)
    variance: np.ndarray  # float32 (dim,)
    bigrams: np.ndarray  # float64 (choices, choices): how often one follows another
    frame_counts: np.ndarray  # float64 (choices,)
    lengths: list[int]  # frames, by utterance


class TrainingData(NamedTuple):
    """Examples and batches for `fit`, with what the survey found."""

    found: Survey
    examples: tf.data.Dataset
    buckets: pipeline.Buckets
    validation: tf.data.Dataset

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        return pipeline.num_batches(self.found.lengths, self.buckets)

    def batches(self, *, seed: int, first_epoch: int = 0) -> tf.data.Dataset:
        """Endless shuffled batches; the order of an epoch is a function of (seed, epoch)."""
        return pipeline.training_batches(
            self.examples,
            buckets=self.buckets,
            length=lambda example: tf.size(example["frame_mask"]),
            seed=seed,
            first_epoch=first_epoch,
        )

    def summary(self) -> str:
        """One line for the log: sizes, and the share of padding among the frames of an epoch."""
        minutes = sum(self.found.lengths) * audio.FRAME_S / 60
        padding = pipeline.padding_ratio(self.batches(seed=0).take(self.num_batches), "frame_mask")
        return (
            f"{len(self.found.lengths)} utterances, {minutes:.1f} minutes, "
            f"{len(self.found.phones)} phones, {self.num_batches} batches an epoch, "
            f"padding {padding:.0%}"
        )


def load_split(config: DataConfig, split: str) -> tf.data.Dataset:
    """Streams the records of "train", "validation" or "test" (see datasets.py).

    Raises:
        UserError: the data set cannot be prepared, or has no such split.
    """
    builder, splits = datasets.make_builder(config)
    if split not in splits:
        raise UserError(
            f"expected a {split} part of {config.name}, its files are not in "
            f"{config.root}: add them, or choose one of {', '.join(splits)}"
        )
    records = datasets.read(builder, splits[split])
    if config.max_utterances is None or split == "test":
        return records
    return records.take(
        config.max_utterances if split == "train" else max(config.max_utterances // 8, 1)
    )


def make_examples(records: tf.data.Dataset, model: ModelConfig) -> tf.data.Dataset:
    """Features and the reference phone of every frame; no padding yet."""
    table = Vocabulary(PHONES_61).make_table(unknown=-1)

    def encode(record: dict) -> dict[str, tf.Tensor]:
        waveform = tf.cast(record["waveform"], tf.float32)[None] / 32768.0
        num_samples = tf.shape(waveform)[1:]
        features, mask = audio.features(
            waveform, num_samples, kind=model.features, num_mels=model.num_mels
        )
        return {
            "features": features[0],
            "frame_mask": mask[0],
            "reference_id": label_frames(
                table.lookup(record["phone"]), record["start"], record["end"], tf.size(mask[0])
            ),
            "phone": record["phone"],
            "start": record["start"],
            "utterance_id": record["utterance_id"],
            "speaker": record["speaker"],
        }

    # No Python branches to convert; AutoGraph would read all of it again for each data set.
    as_it_is = tf.autograph.experimental.do_not_convert(encode)
    return records.map(as_it_is, num_parallel_calls=tf.data.AUTOTUNE)


def label_frames(
    phone_ids: tf.Tensor, start: tf.Tensor, end: tf.Tensor, num_frames: tf.Tensor
) -> tf.Tensor:
    """The phone in the middle of each frame.

    Args:
        phone_ids: int32 (phones,).
        start, end: int64 (phones,), samples, rising.
        num_frames: how many frames there are.

    Returns:
        int32 (frames,); -1 in gaps and after the last phone.
    """
    middle = tf.range(num_frames, dtype=tf.int64) * audio.FRAME_SHIFT + audio.FRAME_SHIFT // 2
    place = tf.maximum(tf.searchsorted(start, middle, side="right") - 1, 0)
    inside = (tf.gather(start, place) <= middle) & (middle < tf.gather(end, place))
    return tf.where(inside, tf.gather(phone_ids, place), -1)


def survey(examples: tf.data.Dataset, *, phone_set: int) -> Survey:
    """Reads the training examples once: classes, normalisation, bigrams, lengths.

    Raises:
        UserError: there is no example.
    """
    total, squares, lengths = np.zeros(()), np.zeros(()), []
    counts = np.zeros(len(PHONES_61))
    follows = np.zeros((len(PHONES_61), len(PHONES_61)))
    for example in examples.as_numpy_iterator():
        features = example["features"].astype(np.float64)
        total, squares = total + features.sum(axis=0), squares + (features**2).sum(axis=0)
        lengths.append(len(features))
        known = example["reference_id"][example["reference_id"] >= 0]
        counts += np.bincount(known, minlength=len(PHONES_61))
        changes = known[np.flatnonzero(np.diff(known, prepend=-1))]
        np.add.at(follows, (changes[:-1], changes[1:]), 1)
    if not lengths:
        raise UserError("expected training utterances, found none: look at --data.root")
    frames = max(sum(lengths), 1)
    mean = total / frames
    classes = [fold(phone, phone_set) for phone in PHONES_61]
    kept = {one: counts[[c == one for c in classes]].sum() for one in dict.fromkeys(classes) if one}
    names = [name for name, count in kept.items() if count]
    if len(names) < 2:
        raise UserError(f"expected at least two phones in training, got {names}")
    member = np.array([[one == name for one in classes] for name in names], np.float64)
    return Survey(
        phones=Vocabulary(tuple(names)),
        mean=mean.astype(np.float32),
        variance=np.maximum(squares / frames - mean**2, 1e-6).astype(np.float32),
        bigrams=member @ follows @ member.T,
        frame_counts=member @ counts,
        lengths=lengths,
    )


def with_targets(
    examples: tf.data.Dataset, phones: Vocabulary, *, phone_set: int
) -> tf.data.Dataset:
    """Adds `phone_id`, the class of each frame."""
    known = {phone: number for number, phone in enumerate(phones.tokens)}
    classes = tf.constant([known.get(fold(one, phone_set), -1) for one in PHONES_61] + [-1])

    def add(example: dict) -> dict[str, tf.Tensor]:
        return {**example, "phone_id": tf.gather(classes, example["reference_id"] % len(classes))}

    return examples.map(add)


def make_training_data(config: DataConfig, model: ModelConfig, *, batch_size: int) -> TrainingData:
    """Reads the training and validation splits and makes all that `fit` needs of them."""
    examples = make_examples(load_split(config, "train"), model).cache()
    held_back = make_examples(load_split(config, "validation"), model).cache()
    found = survey(examples, phone_set=model.phone_set)
    # Three buckets of like size; more would leave many small batches at an epoch's end.
    boundaries = {int(np.quantile(found.lengths, share)) for share in (1 / 3, 2 / 3)}
    return TrainingData(
        found=found,
        examples=with_targets(examples, found.phones, phone_set=model.phone_set),
        buckets=pipeline.equal_batches(sorted(boundaries), batch_size=batch_size),
        validation=pipeline.evaluation_batches(
            with_targets(held_back, found.phones, phone_set=model.phone_set),
            batch_size=batch_size,
            num_examples=int(held_back.reduce(0, lambda count, _: count + 1)),
        ),
    )


def as_training(
    batch: dict[str, tf.Tensor], *, inputs: Iterable[str]
) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
    """A batch as (inputs, target int32 (batch, frames), weight float32 (batch, frames)).

    Padding, and frames whose phone is none of the classes, have weight 0. `inputs` are the names
    that the model takes; Keras would mix up any others.
    """
    known = tf.logical_and(batch["frame_mask"], batch["phone_id"] >= 0)
    taken = {name: batch[name] for name in inputs}
    return taken, tf.maximum(batch["phone_id"], 0), tf.cast(known, tf.float32)
