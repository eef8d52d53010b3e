"""Records of questions with their candidates -> padded batches.

A batch is a dict; `as_training` turns it into what `fit` takes:

    question_ids    int32  (batch, question_time)                         0 where there is none
    question_keys   int32  (batch, question_time, keys)                   see features.py
    question_mask   bool   (batch, question_time)                         True = real
    candidate_ids, candidate_keys, candidate_mask   (batch, candidates, candidate_time, ...)
    is_candidate    bool   (batch, candidates)                            True = real
    label           int32  (batch, candidates)                            1 = answers the question
    question_id     string (batch,);  candidate_id  string (batch, candidates)
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from apps.answer_selection import datasets, features
from apps.answer_selection.config import DataConfig
from apps.answer_selection.draws import draw
from apps.answer_selection.survey import Survey, survey
from common.inputs import pipeline
from common.inputs.text import Vocabulary
from common.runs.errors import UserError
from common.scaling import service_batches

MAX_CANDIDATES = 64  # of a question in one row of an evaluation batch; more make a second row


class TrainingData(NamedTuple):
    """Examples and batches for `fit`, with what the survey found."""

    found: Survey
    examples: tf.data.Dataset
    buckets: pipeline.Buckets
    validation: tf.data.Dataset
    candidates_per_question: int
    service: service_batches.Service | None

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        return pipeline.num_batches(self.found.lengths, self.buckets)

    def batches(self, *, seed: int, first_epoch: int = 0) -> tf.data.Dataset:
        """Endless shuffled batches; order and candidates are a function of (seed, epoch)."""

        def drawn(epoch: tf.Tensor) -> tf.data.Dataset:
            return self.examples.map(
                lambda example: draw(
                    example, seed=seed, epoch=epoch, most=self.candidates_per_question
                ),
                num_parallel_calls=tf.data.AUTOTUNE,
            )

        return pipeline.training_batches(
            drawn,
            buckets=self.buckets,
            length=lambda example: tf.shape(example["candidate_ids"])[1],
            seed=seed,
            first_epoch=first_epoch,
            service=self.service,
        )

    def summary(self) -> str:
        """One line for the log: sizes."""
        return (
            f"{self.found.num_questions} questions, {len(self.found.lengths)} of them with right "
            f"and wrong candidates, {self.found.num_candidates} candidates, "
            f"{len(self.found.words)} words, {self.num_batches} batches an epoch"
        )


def load_split(config: DataConfig, split: str) -> tf.data.Dataset:
    """Streams the records of "train", "validation" or "test" (see datasets.py).

    Raises:
        UserError: the data set cannot be prepared, or has no such split.
    """
    builder, splits = datasets.make_builder(
        config.name, root=config.root, cache_dir=config.cache_dir, packages=config.packages
    )
    if split not in splits:
        raise UserError(
            f"expected a {split} part of {config.name}, its files are not in "
            f"{config.root}: add them, or choose one of {', '.join(splits)}"
        )
    records = datasets.read(builder, splits[split])
    if config.max_questions is None or split == "test":
        return records
    return records.take(config.max_questions if split == "train" else config.max_questions // 8)


def make_examples(
    records: tf.data.Dataset, words: Vocabulary, config: DataConfig
) -> tf.data.Dataset:
    """Encodes records; one example is a question with all its candidates."""
    table = words.make_table(unknown=-1)

    def encode(strings: tf.Tensor, max_words: int) -> dict[str, tf.Tensor]:
        return features.encode(strings, table, num_buckets=config.hash_buckets, max_words=max_words)

    def example(record: dict) -> dict[str, tf.Tensor]:
        question = encode(record["question"][None], config.max_question_words)
        candidates = encode(record["candidates"], config.max_candidate_words)
        return {
            **{f"question_{part}": value[0] for part, value in question.items()},
            **{f"candidate_{part}": value for part, value in candidates.items()},
            "is_candidate": tf.ones_like(record["labels"], tf.bool),
            "label": record["labels"],
            "question_id": record["question_id"],
            "candidate_id": record["candidate_ids"],
        }

    return records.map(example, num_parallel_calls=tf.data.AUTOTUNE)


def evaluation_batches(examples: tf.data.Dataset, *, batch_size: int) -> tf.data.Dataset:
    """One pass; a question with many candidates fills several rows that follow each other."""

    def rows(example: dict) -> tf.data.Dataset:
        starts = tf.range(tf.shape(example["label"])[0], delta=MAX_CANDIDATES)

        def row(start: tf.Tensor) -> dict[str, tf.Tensor]:
            return {
                name: value if name.startswith("question_") else value[start:][:MAX_CANDIDATES]
                for name, value in example.items()
            }

        return tf.data.Dataset.from_tensor_slices(starts).map(row)

    return pipeline.evaluation_batches(examples.flat_map(rows), batch_size=batch_size)


def make_training_data(
    config: DataConfig,
    *,
    batch_size: int,
    candidates_per_question: int,
    more_words: Iterable[str] = (),
) -> TrainingData:
    """Reads the training and validation splits and makes all that `fit` needs of them.

    The encoded training texts stay in memory when `config.memory_mb` has room for all; else they
    are read and encoded again each epoch, so that memory does not grow with the data set.
    """
    service = service_batches.connect(config.service)
    records, held_back = load_split(config, "train"), load_split(config, "validation")
    found = survey(records, config, more_words=more_words)
    both_kinds = records.filter(lambda record: tf.size(tf.unique(record["labels"])[0]) > 1)
    examples = make_examples(both_kinds, found.words, config)
    bytes_per_word = 4 * (1 + features.NUM_KEYS) + 1
    widest = found.num_candidates * config.max_candidate_words * bytes_per_word
    if widest <= config.memory_mb * 2**20:
        examples = examples.cache()
    # Three buckets of like size; more would leave many small batches at an epoch's end.
    boundaries = {int(np.quantile(found.lengths, share)) for share in (1 / 3, 2 / 3)}
    return TrainingData(
        found,
        examples,
        pipeline.equal_batches(sorted(boundaries), batch_size=batch_size),
        evaluation_batches(make_examples(held_back, found.words, config), batch_size=batch_size),
        candidates_per_question,
        service,
    )


def as_training(
    batch: dict[str, tf.Tensor], *, inputs: Iterable[str]
) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
    """A batch as (inputs, label int32 (batch, candidates), weight float32 (batch,)).

    Padding has the label -1. `inputs` are the names that the model takes; Keras would mix up any
    others.
    """
    label = tf.where(batch["is_candidate"], batch["label"], -1)
    weight = tf.ones(tf.shape(label)[:1])
    return {name: batch[name] for name in inputs}, label, weight
