"""Records of images with their questions -> padded batches.

A batch is a dict; `as_training` turns it into what `fit` takes:

    image           uint8  (batch, size, size, 3)
    token_ids       int32  (batch, questions, time)     PAD where there is none
    token_mask      bool   (batch, questions, time)     True = real
    question_mask   bool   (batch, questions)           True = real
    answer_id       int32  (batch, questions)           -1 = not among the training answers
    image_id        string (batch,)
    place           int64  (batch,)                     of the image in its part
    question, question_type  string (batch, questions); answers  string (batch, questions, humans)
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from apps.visual_qa import datasets
from apps.visual_qa.config import POOLED, DataConfig
from common.inputs import features, images, pipeline, text
from common.inputs.text import Vocabulary
from common.runs.errors import UserError
from common.scaling import service_batches


class Vocabularies(NamedTuple):
    """Words of the questions and answers to choose from, both of the training split alone."""

    words: Vocabulary
    answers: Vocabulary


class Survey(NamedTuple):
    """What one pass over the training split counts."""

    vocabularies: Vocabularies
    group_cells: list[int]  # questions x words of the longest, by group of an image's questions
    num_images: int
    num_questions: int


class TrainingData(NamedTuple):
    """Examples and batches for `fit`; `seen` are features of images that are no part of them."""

    survey: Survey
    examples: tf.data.Dataset
    change: pipeline.Change | None
    buckets: pipeline.Buckets
    validation: tf.data.Dataset
    service: service_batches.Service | None
    seen: features.Features | None = None

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        return pipeline.num_batches(self.survey.group_cells, self.buckets)

    def batches(self, *, seed: int, first_epoch: int = 0) -> tf.data.Dataset:
        """Endless shuffled batches; the order of an epoch is a function of (seed, epoch)."""
        batches = pipeline.training_batches(
            self.examples,
            buckets=self.buckets,
            length=lambda example: tf.size(example["token_ids"]),
            seed=seed,
            first_epoch=first_epoch,
            change=self.change,
            service=self.service,
        )
        return batches if self.seen is None else self.seen.add_to(batches, POOLED)

    def summary(self) -> str:
        """Sizes, in a line for the log."""
        words, answers = self.survey.vocabularies
        return (
            f"{self.survey.num_images} images, {self.survey.num_questions} questions, "
            f"{len(words)} words, {len(answers)} answers, {self.num_batches} batches an epoch"
        )


def load_split(config: DataConfig, split: str) -> tf.data.Dataset:
    """Streams the records of "train", "validation" or "test" (see datasets.py).

    Raises:
        UserError: the data set cannot be prepared, or has no such split.
    """
    builder = datasets.make_builder(config)
    builder.prepare(beam=config.beam)
    if split not in builder.info.splits:
        raise UserError(
            f"expected a {split} part of {config.name}, its files are not in "
            f"{config.root}: add them, or choose one of {', '.join(builder.info.splits)}"
        )
    records = builder.read(split)
    if config.max_images is None or split == "test":
        return records
    return records.take(config.max_images if split == "train" else config.max_images // 8)


def take_survey(
    records: tf.data.Dataset, config: DataConfig, *, questions_per_image: int
) -> Survey:
    """Reads the training records once: vocabularies, and the lengths that batches depend on.

    Raises:
        UserError: there is no record, or no choice of answers.
    """
    num_images = num_questions = 0
    answers: Counter[str] = Counter()
    words: Counter[str] = Counter()
    group_cells: list[int] = []
    texts = records.map(lambda record: (record["question"], record["answer"]))
    for questions, targets in texts.ragged_batch(256):
        num_images += int(questions.nrows())
        num_questions += len(targets.flat_values)
        split = text.WORDS(questions.flat_values)
        answers.update(answer.decode() for answer in targets.flat_values.numpy())
        words.update(word.decode() for word in split.flat_values.numpy())
        lengths = np.clip(split.row_lengths().numpy(), 1, config.max_question_words)
        for image_lengths in np.split(lengths, questions.row_splits.numpy()[1:-1]):
            groups = pipeline.chunks(image_lengths, questions_per_image)
            group_cells += [len(group) * int(group.max()) for group in groups]
    if not num_images:
        raise UserError(
            f"expected training images in {config.name}, found none: look at --data.root"
        )
    if len(answers) < 2:
        raise UserError(
            f"expected at least two distinct training answers in {config.name}, got "
            f"{list(answers)}: there is nothing to learn"
        )
    vocabularies = Vocabularies(
        Vocabulary.of_words(words, min_count=config.min_word_count),
        Vocabulary.of_labels(answers, max_size=config.num_answers),
    )
    return Survey(vocabularies, group_cells, num_images, num_questions)


def make_examples(
    records: tf.data.Dataset,
    vocabularies: Vocabularies,
    config: DataConfig,
    *,
    image_size: int | None,
    questions_per_image: int,
) -> tf.data.Dataset:
    """Encodes records; an example is an image with at most `questions_per_image` questions.

    Without an `image_size` the images stay bytes, for `make_decoder`.
    """
    word_table = vocabularies.words.make_table(unknown=text.UNK)
    answer_table = vocabularies.answers.make_table(unknown=-1)

    def encode(place: tf.Tensor, record: dict) -> dict[str, tf.Tensor]:
        token_ids, token_mask = text.encode(
            record["question"], word_table, max_words=config.max_question_words
        )
        return {
            "image": record["image"],
            "image_id": record["image_id"],
            "place": place,
            "token_ids": token_ids,
            "token_mask": token_mask,
            "question_mask": tf.ones_like(record["question"], tf.bool),
            "answer_id": answer_table.lookup(record["answer"]),
            "question": record["question"],
            "question_type": record["question_type"],
            "answers": record["answers"],
        }

    def groups(example: dict) -> tf.data.Dataset:
        starts = tf.range(tf.shape(example["question"])[0], delta=questions_per_image)

        def group(start: tf.Tensor) -> dict[str, tf.Tensor]:
            return {
                name: value
                if name in ("image", "image_id", "place")
                else value[start : start + questions_per_image]
                for name, value in example.items()
            }

        return tf.data.Dataset.from_tensor_slices(starts).map(group)

    encoded = records.enumerate().map(encode, num_parallel_calls=tf.data.AUTOTUNE).flat_map(groups)
    if image_size is None:
        return encoded
    return encoded.map(make_decoder(image_size), num_parallel_calls=tf.data.AUTOTUNE)


def make_decoder(image_size: int) -> Callable[..., dict[str, tf.Tensor]]:
    """A function of an example whose image is bytes."""
    return lambda example, seed=None: {
        **example,
        "image": images.decode_and_resize(example["image"], image_size),
    }


def make_training_data(
    config: DataConfig, *, image_size: int | None, batch_size: int, questions_per_image: int
) -> TrainingData:
    """Reads the training and validation splits and makes all that `fit` needs of them.

    Without an `image_size` batches have no images, see `with_features`.

    Decoded training images stay in memory when `config.memory_mb` has room for all; else they are
    read and decoded again each epoch, so that memory does not grow with the data set. A service
    decodes them each epoch too: what one of its workers keeps would be of no use to the others.
    """
    service = service_batches.connect(config.service)
    records, held_back = load_split(config, "train"), load_split(config, "validation")
    survey = take_survey(records, config, questions_per_image=questions_per_image)

    def examples_of(split: tf.data.Dataset, size: int | None) -> tf.data.Dataset:
        examples = make_examples(
            split,
            survey.vocabularies,
            config,
            image_size=size,
            questions_per_image=questions_per_image,
        )
        if image_size is not None:
            return examples
        return examples.map(lambda example: {n: v for n, v in example.items() if n != "image"})

    fits = len(survey.group_cells) * 3 * (image_size or 0) ** 2 <= config.memory_mb * 2**20
    cached = fits and service is None
    # Three buckets of like size; more would leave many small batches at an epoch's end.
    boundaries = {int(np.quantile(survey.group_cells, share)) for share in (1 / 3, 2 / 3)}
    groups = held_back.map(lambda record: -(-tf.size(record["question"]) // questions_per_image))
    return TrainingData(
        survey=survey,
        examples=examples_of(records, image_size).cache() if cached else examples_of(records, None),
        change=None if cached or image_size is None else make_decoder(image_size),
        buckets=pipeline.equal_batches(sorted(boundaries), batch_size=batch_size),
        validation=pipeline.evaluation_batches(
            examples_of(held_back, image_size),
            batch_size=batch_size,
            num_examples=int(groups.reduce(0, tf.add)),
        ),
        service=service,
    )


def with_features(
    train_data: TrainingData, config: DataConfig, encoder: keras.Model
) -> tuple[TrainingData, features.Features]:
    """Batches with what a frozen `encoder` sees in each image, POOLED (batch, channels).

    It is computed once, and read from disk by later trainings. Of training it is given alone too.
    """
    state = datasets.make_builder(config).info.full_name
    seen = {
        split: features.compute(
            load_split(config, split),
            encoder,
            data=f"{state} {split}, first {config.max_images}",
            cache_dir=config.cache_dir,
        )
        for split in ("train", "validation")
    }
    validation = seen["validation"].add_to(train_data.validation, POOLED)
    return train_data._replace(seen=seen["train"], validation=validation), seen["train"]


def as_training(
    batch: dict[str, tf.Tensor], *, inputs: Iterable[str]
) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
    """A batch as (inputs, target int32 (batch, questions), weight float32 (batch, questions)).

    Padding, and questions whose answer is not among the training answers, have weight 0.
    `inputs` are the names that the model takes; Keras would mix up any others.
    """
    has_target = tf.logical_and(batch["question_mask"], batch["answer_id"] >= 0)
    arrays = {name: batch[name] for name in inputs}
    return arrays, tf.maximum(batch["answer_id"], 0), tf.cast(has_target, tf.float32)
