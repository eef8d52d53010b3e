"""One pass over the training records: the vocabulary, how rare its words are, lengths."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from apps.answer_selection import features
from apps.answer_selection.config import DataConfig
from common.inputs.text import Vocabulary
from common.runs.errors import UserError

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")  # that features.words may give


class Survey(NamedTuple):
    """What one pass over the training split tells."""

    words: Vocabulary
    idf: np.ndarray  # float32 (vocab + buckets,): 0 for a word of every candidate, 1 for a new one
    lengths: list[int]  # words of the longest candidate, by question that teaches an order
    num_questions: int
    num_candidates: int


def survey(
    records: tf.data.Dataset, config: DataConfig, *, more_words: Iterable[str] = ()
) -> Survey:
    """Reads the training records once: vocabulary, word frequencies, lengths.

    `more_words` join the vocabulary, as words of no training text.

    Raises:
        UserError: there is no record, or none with both a right and a wrong candidate.
    """
    num_questions = num_candidates = 0
    counts: Counter[str] = Counter()
    num_with: Counter[str] = Counter()  # candidates that have the word
    longest: list[int] = []
    texts = records.map(lambda record: (record["question"], record["candidates"], record["labels"]))
    for questions, candidates, labels in texts.ragged_batch(256):
        num_questions += int(candidates.nrows())
        num_candidates += len(candidates.flat_values)
        for row in features.words(questions).to_list():
            counts.update(row)
        split = features.words(candidates.flat_values)
        for row in split.to_list():
            counts.update(row)
            num_with.update(set(row))
        lengths = np.clip(split.row_lengths().numpy(), 1, config.max_candidate_words)
        places = candidates.row_splits.numpy()[1:-1]
        for of_one, label in zip(np.split(lengths, places), labels.to_list(), strict=True):
            if len(set(label)) == 2:
                longest.append(int(of_one.max()))
    if not num_questions:
        raise UserError(
            f"expected training questions in {config.name}, found none: look at --data.root"
        )
    if not longest:
        raise UserError(
            f"expected training questions in {config.name} with a right and a wrong candidate, "
            f"all labels of each of the {num_questions} questions are equal: nothing to learn"
        )
    counts = Counter({word.decode(): count for word, count in counts.items()})
    words = Vocabulary.of_words(counts, min_count=config.min_word_count)
    # Each once, in their order; of <pad> and the like only our own.
    words = Vocabulary(tuple(dict.fromkeys([*words.tokens, *filter(_WORD.fullmatch, more_words)])))
    rarest = np.log((num_candidates + 1) / 0.5)
    idf = np.ones(len(words) + config.hash_buckets, "float32")
    for place, word in enumerate(words.tokens):
        idf[place] = np.log((num_candidates + 1) / (num_with[word.encode()] + 0.5)) / rarest
    return Survey(words, np.maximum(idf, 0), longest, num_questions, num_candidates)
