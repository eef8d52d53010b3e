"""Records of questions with their candidates -> padded batches.

A batch is a dict; `as_training` turns it into what `fit` takes:

    question_ids    int32  (batch, question_time)                         0 where there is none
    question_keys   int32  (batch, question_time, keys)                   see ranking/tokenizer.py
    question_mask   bool   (batch, question_time)                         True = real
    candidate_ids, candidate_keys, candidate_mask   (batch, candidates, candidate_time, ...)
    is_candidate    bool   (batch, candidates)                            True = real
    label           int32  (batch, candidates)                            1 = answers the question
    question_id     string (batch,);  candidate_id  string (batch, candidates)
"""

import functools
import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from apps.answer_selection import datasets
from apps.answer_selection.config import DataConfig
from apps.answer_selection.ranking import tokenizer
from common.inputs import pipeline
from common.inputs.datasets import prepare
from common.inputs.text import Vocabulary
from common.runs.errors import UserError
from common.scaling import service_batches

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")  # that tokenizer.words may give


class Statistics(NamedTuple):
    """What one pass over the training records counts.

    Attributes:
        words: the vocabulary.
        idf: float32 (vocab + buckets,), 0 for a word of every candidate, 1 for a new word.
        lengths: words of the longest candidate, by question with right and wrong candidates.
    """

    words: Vocabulary
    idf: np.ndarray
    lengths: list[int]
    num_candidates: int


class TrainingData(NamedTuple):
    """Examples and batches for `fit`, with the statistics of the training records."""

    statistics: Statistics
    examples: tf.data.Dataset
    buckets: pipeline.Buckets
    validation: tf.data.Dataset
    candidates_per_question: int
    service: service_batches.Service | None

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        return pipeline.num_batches(self.statistics.lengths, self.buckets)

    def batches(self, *, seed: int, first_epoch: int = 0) -> tf.data.Dataset:
        """Endless shuffled batches; order and candidates are a function of (seed, epoch)."""

        def draw_all(epoch: tf.Tensor) -> tf.data.Dataset:
            options = {"seed": seed, "epoch": epoch, "most": self.candidates_per_question}
            return self.examples.map(
                lambda example: draw(example, **options), num_parallel_calls=tf.data.AUTOTUNE
            )

        return pipeline.training_batches(
            draw_all,
            buckets=self.buckets,
            length=lambda example: tf.shape(example["candidate_ids"])[1],
            seed=seed,
            first_epoch=first_epoch,
            service=self.service,
        )

    def summary(self) -> str:
        """One line for the log: sizes."""
        words, _, lengths, num_candidates = self.statistics
        return (
            f"{len(lengths)} questions with right and wrong candidates, {num_candidates} "
            f"candidates, {len(words)} words, {self.num_batches} batches an epoch"
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
    if config.max_questions is None or split == "test":
        return records
    return records.take(config.max_questions if split == "train" else config.max_questions // 8)


def read_statistics(
    records: tf.data.Dataset, config: DataConfig, *, more_words: Iterable[str] = ()
) -> Statistics:
    """Reads the training records once: vocabulary, word frequencies, lengths.

    `more_words` join the vocabulary, as words of no training text.

    Raises:
        UserError: no record has both a right and a wrong candidate.
    """
    num_candidates = 0
    counts: Counter[bytes] = Counter()
    num_with: Counter[bytes] = Counter()  # candidates that have the word
    longest: list[int] = []
    texts = records.map(lambda record: (record["question"], record["candidates"], record["labels"]))
    for questions, candidates, labels in texts.ragged_batch(256):
        num_candidates += len(candidates.flat_values)
        split = tokenizer.words(candidates.flat_values)
        rows = split.to_list()
        num_with.update(word for row in rows for word in set(row))
        for row in [*rows, *tokenizer.words(questions).to_list()]:
            counts.update(row)
        lengths = np.clip(split.row_lengths().numpy(), 1, config.max_candidate_words)
        borders = candidates.row_splits.numpy()[1:-1]
        for group, label in zip(np.split(lengths, borders), labels.to_list(), strict=True):
            if len(set(label)) == 2:
                longest.append(int(group.max()))
    if not longest:
        raise UserError(
            f"expected training questions in {config.name} with a right and a wrong candidate, "
            "all labels of each question are equal: nothing to learn"
        )
    decoded = Counter({word.decode(): count for word, count in counts.items()})
    words = Vocabulary.of_words(decoded, min_count=config.min_word_count)
    # Each once, in their order; of <pad> and the like only our own.
    words = Vocabulary(tuple(dict.fromkeys([*words.tokens, *filter(_WORD.fullmatch, more_words)])))
    rarest = np.log((num_candidates + 1) / 0.5)
    idf = np.ones(len(words) + config.hash_buckets, "float32")
    for row, word in enumerate(words.tokens):
        idf[row] = np.log((num_candidates + 1) / (num_with[word.encode()] + 0.5)) / rarest
    return Statistics(words, np.maximum(idf, 0), longest, num_candidates)


def make_examples(
    records: tf.data.Dataset, words: Vocabulary, config: DataConfig
) -> tf.data.Dataset:
    """Encodes records; one example is a question with all its candidates."""
    table = words.make_table(unknown=-1)
    encode = functools.partial(tokenizer.encode, table=table, num_buckets=config.hash_buckets)

    def example(record: dict) -> dict[str, tf.Tensor]:
        question = encode(record["question"][None], max_words=config.max_question_words)
        candidates = encode(record["candidates"], max_words=config.max_candidate_words)
        return {
            **{f"question_{part}": value[0] for part, value in question.items()},
            **{f"candidate_{part}": value for part, value in candidates.items()},
            "is_candidate": tf.ones_like(record["labels"], tf.bool),
            "label": record["labels"],
            "question_id": record["question_id"],
            "candidate_id": record["candidate_ids"],
        }

    return records.map(example, num_parallel_calls=tf.data.AUTOTUNE)


def draw(example: dict, *, seed: int, epoch: tf.Tensor, most: int) -> dict[str, tf.Tensor]:
    """A question with at most `most` of its candidates, a function of (seed, epoch, question).

    Right ones up to half of them (or more, where there are not enough wrong ones), then wrong ones.
    """
    own = tf.strings.to_hash_bucket_fast(example["question_id"], 2**31)
    seeds = [own + seed, tf.cast(epoch, tf.int64)]
    # One draw gives the order of both kinds.
    order = tf.argsort(tf.random.stateless_uniform(tf.shape(example["label"]), seeds))
    is_right = tf.gather(example["label"], order) > 0
    right, wrong = tf.boolean_mask(order, is_right), tf.boolean_mask(order, ~is_right)
    num_right = tf.maximum(most // 2, most - tf.size(wrong))
    right = right[:num_right]
    chosen = tf.concat([right, wrong[: most - tf.size(right)]], axis=0)
    return {
        name: value if name.startswith("question_") else tf.gather(value, chosen)
        for name, value in example.items()
    }


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
    records = load_split(config, "train")
    statistics = read_statistics(records, config, more_words=more_words)
    words = statistics.words
    both_kinds = records.filter(lambda record: tf.size(tf.unique(record["labels"])[0]) > 1)
    examples = make_examples(both_kinds, words, config)
    bytes_per_word = 4 * (1 + tokenizer.NUM_KEYS) + 1
    largest = statistics.num_candidates * config.max_candidate_words * bytes_per_word
    if largest <= config.memory_mb * 2**20:
        examples = examples.cache()
    # Three buckets of like size; more would leave many small batches at an epoch's end.
    boundaries = {int(np.quantile(statistics.lengths, share)) for share in (1 / 3, 2 / 3)}
    validation = make_examples(load_split(config, "validation"), words, config)
    return TrainingData(
        statistics,
        examples,
        pipeline.equal_batches(sorted(boundaries), batch_size=batch_size),
        pipeline.evaluation_batches(validation, batch_size=batch_size),
        candidates_per_question,
        service,
    )


def as_training(batch: dict, *, inputs: Iterable[str]) -> tuple[dict, tf.Tensor, tf.Tensor]:
    """A batch as (inputs, label int32 (batch, candidates), -1 = padding, weight float32 (batch,)).

    `inputs` are the names that the model takes; Keras would mix up any others.
    """
    label = tf.where(batch["is_candidate"], batch["label"], -1)
    weight = tf.ones(tf.shape(label)[:1])
    return {name: batch[name] for name in inputs}, label, weight
