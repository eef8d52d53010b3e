"""The word vectors that the options ask for."""

import logging
from collections.abc import Sequence

import numpy as np

from apps.answer_selection.config import ModelConfig
from common.layers import embeddings
from common.runs.errors import UserError

logger = logging.getLogger("cellstate")


def more_words(options: ModelConfig) -> list[str]:
    """Words that have a vector, though perhaps no training text has them.

    None where vectors are trained: those that no training text moves would stay behind.
    """
    if options.word_vectors == "random" or options.train_word_vectors:
        return []
    return embeddings.frequent_words(path=options.word_vectors_file, most=options.more_words)


def load(names: Sequence[str], options: ModelConfig) -> np.ndarray | None:
    """One vector a row of the vocabulary and its buckets; None for random ones.

    Raises:
        UserError: they are not as wide as the options say.
    """
    if options.word_vectors == "random":
        return None
    vectors, coverage, _ = embeddings.load_word_vectors(names, path=options.word_vectors_file)
    logger.info("word vectors: for %.1f%% of the words", 100 * coverage)
    if vectors.shape[1] != options.word_dim:
        raise UserError(
            f"expected word vectors of {options.word_dim} numbers, as model.word_dim says, "
            f"{options.word_vectors_file} has {vectors.shape[1]}: set --model.word-dim"
        )
    return vectors
