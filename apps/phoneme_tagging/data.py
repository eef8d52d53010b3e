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

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from apps.phoneme_tagging import datasets
from apps.phoneme_tagging.config import AugmentConfig, DataConfig, ModelConfig
from apps.phoneme_tagging.corpora.phones import PHONES_61, fold
from apps.phoneme_tagging.tagging import augmentation
from apps.phoneme_tagging.tagging.viterbi import PhoneCounts
from common.inputs import audio, pipeline
from common.inputs import datasets as preparation
from common.inputs.text import Vocabulary
from common.runs.errors import UserError
from common.scaling import service_batches

MAX_CACHED = 1_600_000  # frames: 512 MB of samples; more are read anew in every epoch


class Survey(NamedTuple):
    """What one pass over the training split tells."""

    phones: Vocabulary  # the classes that occur in training
    mean: np.ndarray  # float32 (dim,)
    variance: np.ndarray  # float32 (dim,)
    counts: PhoneCounts
    lengths: list[int]  # frames, by utterance


class TrainingData(NamedTuple):
    """Examples and batches for `fit`, with the survey of the training split.

    `records` have their number of frames; `change` makes an example of one, anew in each epoch.
    """

    survey: Survey
    records: tf.data.Dataset
    change: pipeline.Change
    buckets: pipeline.Buckets
    validation: tf.data.Dataset
    service: service_batches.Service | None

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        return pipeline.num_batches(self.survey.lengths, self.buckets)

    def batches(self, *, seed: int, first_epoch: int = 0) -> tf.data.Dataset:
        """Endless shuffled batches; the order of an epoch is a function of (seed, epoch)."""
        return pipeline.training_batches(
            self.records,
            buckets=self.buckets,
            length=lambda record: record["num_frames"],
            seed=seed,
            first_epoch=first_epoch,
            change=self.change,
            service=self.service,
        )

    def summary(self) -> str:
        """One line for the log: sizes."""
        lengths = self.survey.lengths
        return (
            f"{len(lengths)} utterances, {sum(lengths) * audio.FRAME_S / 60:.1f} minutes, "
            f"{len(self.survey.phones)} phones, {self.num_batches} batches an epoch"
        )


def load_split(config: DataConfig, split: str) -> tf.data.Dataset:
    """Streams the records of "train", "validation" or "test" (see datasets.py).

    Raises:
        UserError: the data set cannot be prepared, or has no such split.
    """
    builder = datasets.make_builder(config)
    preparation.prepare(builder, builder.broken)
    if split not in builder.info.splits:
        raise UserError(
            f"expected a {split} part of {config.name}, its files are not in "
            f"{config.root}: add them, or choose one of {', '.join(builder.info.splits)}"
        )
    records = builder.read(split)
    if config.max_utterances is None or split == "test":
        return records
    return records.take(
        config.max_utterances if split == "train" else max(config.max_utterances // 8, 1)
    )


def make_examples(records: tf.data.Dataset, model: ModelConfig) -> tf.data.Dataset:
    """Features and the reference phone of every frame; no padding yet."""
    return records.map(make_encoder(model), num_parallel_calls=tf.data.AUTOTUNE)


def make_encoder(
    model: ModelConfig, augment: AugmentConfig | None = None
) -> Callable[..., dict[str, tf.Tensor]]:
    """A function from a record to an example; with `augment`, also of a seed, int64 (2,)."""
    table = Vocabulary(PHONES_61).make_table(unknown=-1)

    def encode(record: dict, seed: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        waveform = tf.cast(record["waveform"], tf.float32) / 32768.0
        recorded, start, end = audio.num_frames(tf.size(waveform)), record["start"], record["end"]
        if seed is not None and augment is not None:
            waveform, stretch = augmentation.change_sound(
                waveform, seed, speed=augment.speed, noise=augment.noise
            )
            times = tf.round(tf.cast(tf.stack([start, end]), tf.float64) * stretch)
            start, end = tf.unstack(tf.cast(times, tf.int64))
        size = tf.size(waveform)
        frames = audio.num_frames(size)
        features, mask = audio.features(
            waveform[None], size[None], kind=model.features, num_mels=model.num_mels
        )
        return {
            "features": features[0, :frames],
            "frame_mask": mask[0, :frames],
            "reference_id": label_frames(table.lookup(record["phone"]), start, end, frames),
            "num_frames": recorded,
            "phone": record["phone"],
            "start": start,
            "utterance_id": record["utterance_id"],
            "speaker": record["speaker"],
        }

    # No branches on tensors: AutoGraph would read all of it again for each data set.
    return tf.autograph.experimental.do_not_convert(encode)


def label_frames(
    phone_ids: tf.Tensor, start: tf.Tensor, end: tf.Tensor, num_frames: tf.Tensor
) -> tf.Tensor:
    """The phone in the middle of each frame, int32 (frames,); -1 in gaps and after the last phone.

    Args:
        phone_ids: int32 (phones,).
        start, end: int64 (phones,), samples, rising.
        num_frames: how many frames there are.
    """
    middle = tf.range(num_frames, dtype=tf.int64) * audio.FRAME_SHIFT + audio.FRAME_SHIFT // 2
    place = tf.maximum(tf.searchsorted(start, middle, side="right") - 1, 0)
    inside = (tf.gather(start, place) <= middle) & (middle < tf.gather(end, place))
    return tf.where(inside, tf.gather(phone_ids, place), -1)


def take_survey(examples: tf.data.Dataset, *, phone_set: int) -> Survey:
    """Reads the training examples once.

    Raises:
        UserError: there is no example, or only one phone.
    """
    total, squares, lengths = np.zeros(()), np.zeros(()), []
    counts = np.zeros(len(PHONES_61))
    follows = np.zeros((len(PHONES_61), len(PHONES_61)))
    for example in examples.as_numpy_iterator():
        features = example["features"].astype(np.float64)
        total, squares = total + features.sum(axis=0), squares + (features**2).sum(axis=0)
        lengths.append(len(features))
        labels = example["reference_id"][example["reference_id"] >= 0]
        counts += np.bincount(labels, minlength=len(PHONES_61))
        changes = labels[np.flatnonzero(np.diff(labels, prepend=-1))]
        np.add.at(follows, (changes[:-1], changes[1:]), 1)
    frames = max(sum(lengths), 1)
    mean = total / frames
    classes = np.array([fold(phone, phone_set) for phone in PHONES_61])
    names = [name for name in dict.fromkeys(classes) if name and counts[classes == name].any()]
    if len(names) < 2:
        raise UserError(f"expected two phones or more in training, got {names}: see --data.root")
    member = np.array([classes == name for name in names], np.float64)
    return Survey(
        phones=Vocabulary(tuple(map(str, names))),
        mean=mean.astype(np.float32),
        variance=np.maximum(squares / frames - mean**2, 1e-6).astype(np.float32),
        counts=PhoneCounts(bigrams=member @ follows @ member.T, frames=member @ counts),
        lengths=lengths,
    )


def make_targets(
    phones: Sequence[str], *, phone_set: int
) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
    """A function that adds `phone_id`, the class of each frame."""
    ids = {phone: number for number, phone in enumerate(phones)}
    of_61 = [ids.get(fold(phone, phone_set), -1) for phone in PHONES_61]
    classes = tf.constant([*of_61, -1])
    return lambda example: {
        **example,
        "phone_id": tf.gather(classes, example["reference_id"] % len(classes)),
    }


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
    survey = take_survey(examples, phone_set=model.phone_set)
    targets = make_targets(survey.phones.tokens, phone_set=model.phone_set)
    records = records.map(
        lambda record: {**record, "num_frames": audio.num_frames(tf.size(record["waveform"]))}
    )
    validation = make_examples(load_split(config, "validation"), model).map(targets)
    if sum(survey.lengths) < MAX_CACHED:
        records, validation = records.cache(), validation.cache()
    encode = make_encoder(model, augment)
    # Three buckets of like size; more would leave many small batches at an epoch's end.
    boundaries = {int(np.quantile(survey.lengths, share)) for share in (1 / 3, 2 / 3)}
    return TrainingData(
        survey=survey,
        records=records,
        change=lambda record, seed: targets(encode(record, seed)),
        buckets=pipeline.equal_batches(sorted(boundaries), batch_size=batch_size),
        validation=pipeline.evaluation_batches(
            validation,
            batch_size=batch_size,
            num_examples=int(validation.reduce(0, lambda count, _: count + 1)),
        ),
        service=service,
    )


def as_training(
    batch: dict[str, tf.Tensor], *, inputs: Iterable[str]
) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
    """A batch as (inputs, targets int32 (batch, frames), weights float32 (batch, frames)).

    Padding, and frames whose phone is none of the classes, have weight 0. `inputs` are the names
    that the model takes; Keras would mix up any others.
    """
    scored = tf.logical_and(batch["frame_mask"], batch["phone_id"] >= 0)
    taken = {name: batch[name] for name in inputs}
    return taken, tf.maximum(batch["phone_id"], 0), tf.cast(scored, tf.float32)
