"""Records of utterances -> padded batches of frames.

A batch is a dict; `as_training` turns it into what `fit` takes:

    features        float32 (batch, frames, dim)    zeros where there is none
    frame_mask      bool    (batch, frames)         True = real
    phone_id        int32   (batch, frames)         among the classes; -1 = not scored in training
    reference_id    int32   (batch, frames)         among TIMIT's 61; -1 = no label
    num_frames      int32   (batch,)                of the recording, before any augmentation
    phone, start            string, int64 (batch, phones), samples; "" where there is none
    utterance_id, speaker   string (batch,)

The phone of a frame is the one in the middle of its 10 ms.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from apps.phoneme_tagging import datasets
from apps.phoneme_tagging.config import AugmentConfig, DataConfig, ModelConfig
from apps.phoneme_tagging.examples import make_encoder, make_examples
from apps.phoneme_tagging.phones import PHONES_61, fold
from common.inputs import audio, pipeline
from common.inputs.text import Vocabulary
from common.runs.errors import UserError
from common.scaling import service_batches

MOST_CACHED = 2**29  # bytes; a larger split is read anew in every epoch


class Survey(NamedTuple):
    """What one pass over the training split tells."""

    phones: Vocabulary  # the classes that occur in training
    mean: np.ndarray  # float32 (dim,)
    variance: np.ndarray  # float32 (dim,)
    bigrams: np.ndarray  # float64 (choices, choices): how often one follows another
    frame_counts: np.ndarray  # float64 (choices,)
    lengths: list[int]  # frames, by utterance


class TrainingData(NamedTuple):
    """Examples and batches for `fit`, with what the survey found.

    `change` makes examples of what `examples` holds then, records; or there is none.
    """

    found: Survey
    examples: tf.data.Dataset
    change: pipeline.Change | None
    buckets: pipeline.Buckets
    validation: tf.data.Dataset
    service: service_batches.Service | None

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        return pipeline.num_batches(self.found.lengths, self.buckets)

    def batches(self, *, seed: int, first_epoch: int = 0) -> tf.data.Dataset:
        """Endless shuffled batches; the order of an epoch is a function of (seed, epoch)."""
        return pipeline.training_batches(
            self.examples,
            buckets=self.buckets,
            length=lambda example: example["num_frames"],
            seed=seed,
            first_epoch=first_epoch,
            change=self.change,
            service=self.service,
        )

    def summary(self) -> str:
        """One line for the log: sizes."""
        minutes = sum(self.found.lengths) * audio.FRAME_S / 60
        return (
            f"{len(self.found.lengths)} utterances, {minutes:.1f} minutes, "
            f"{len(self.found.phones)} phones, {self.num_batches} batches an epoch"
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


def make_targets(
    phones: Vocabulary, *, phone_set: int
) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
    """A function that adds `phone_id`, the class of each frame."""
    known = {phone: number for number, phone in enumerate(phones.tokens)}
    of_61 = [known.get(fold(one, phone_set), -1) for one in PHONES_61]
    classes = tf.constant([*of_61, -1])

    def add(example: dict) -> dict[str, tf.Tensor]:
        return {**example, "phone_id": tf.gather(classes, example["reference_id"] % len(classes))}

    return add


def with_targets(
    examples: tf.data.Dataset, phones: Vocabulary, *, phone_set: int
) -> tf.data.Dataset:
    """Adds what `make_targets` says."""
    return examples.map(make_targets(phones, phone_set=phone_set))


def make_training_data(
    config: DataConfig,
    model: ModelConfig,
    augment: AugmentConfig | None = None,
    *,
    batch_size: int,
) -> TrainingData:
    """Reads the training and validation splits and makes all that `fit` needs of them."""
    service = service_batches.connect(config.service)
    records = load_split(config, "train")
    examples = make_examples(records, model)
    found = survey(examples, phone_set=model.phone_set)
    targets = make_targets(found.phones, phone_set=model.phone_set)
    plain = augment in (None, AugmentConfig()) and service is None
    change = None if plain else _make_change(make_encoder(model), augment, targets)
    shown = (
        _cached(examples.map(targets), found, 4 * len(found.mean))
        if plain
        else _cached(records.map(_with_length), found, 2 * audio.FRAME_SHIFT)
    )
    held_back = make_examples(load_split(config, "validation"), model).map(targets)
    held_back = _cached(held_back, found, 4 * len(found.mean))
    # Three buckets of like size; more would leave many small batches at an epoch's end.
    boundaries = {int(np.quantile(found.lengths, share)) for share in (1 / 3, 2 / 3)}
    return TrainingData(
        found=found,
        examples=shown,
        change=change,
        buckets=pipeline.equal_batches(sorted(boundaries), batch_size=batch_size),
        validation=pipeline.evaluation_batches(
            held_back,
            batch_size=batch_size,
            num_examples=int(held_back.reduce(0, lambda count, _: count + 1)),
        ),
        service=service,
    )


def _with_length(record: dict) -> dict[str, tf.Tensor]:
    return {**record, "num_frames": audio.num_frames(tf.size(record["waveform"]))}


def _make_change(encode, augment: AugmentConfig | None, targets) -> pipeline.Change:
    return lambda record, seed: targets(encode(record, seed, augment))


def _cached(examples: tf.data.Dataset, found: Survey, frame_bytes: int) -> tf.data.Dataset:
    """In memory where training takes little of it; validation is smaller."""
    return examples.cache() if sum(found.lengths) * frame_bytes < MOST_CACHED else examples


def as_training(
    batch: dict[str, tf.Tensor], *, inputs: Iterable[str]
) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
    """A batch as (inputs, targets int32 (batch, frames), weights float32 (batch, frames)).

    Padding, and frames whose phone is none of the classes, have weight 0. `inputs` are the names
    that the model takes; Keras would mix up any others.
    """
    known = tf.logical_and(batch["frame_mask"], batch["phone_id"] >= 0)
    taken = {name: batch[name] for name in inputs}
    return taken, tf.maximum(batch["phone_id"], 0), tf.cast(known, tf.float32)
