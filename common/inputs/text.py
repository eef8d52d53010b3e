"""Text to word ids and back: strings (batch,) -> token_ids int32 (batch, time), token_mask bool.

One `Tokenizer` splits text, in tf.data and in the SavedModel alike: a model never meets words in a
form that its vocabulary was not built from. All of it runs inside a TensorFlow graph.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tensorflow as tf

from common.inputs import unicode
from common.runs import files
from common.runs.errors import UserError

PAD, UNK, START, END = range(4)
SPECIALS = ("<pad>", "<unk>", "<start>", "<end>")


_WORD = r"[\pL\pN\pM_]+(?:'+[\pL\pN\pM_]+)*"


@dataclass(frozen=True)
class Tokenizer:
    """Cuts text into words inside a graph: string (batch,) -> ragged string (batch, time).

    A word is a run of letters, digits and "_", with apostrophes inside it. Where a function takes
    a `tokenizer`, any other function of this signature will do. In an export to ONNX or LiteRT,
    `split(text, **dataclasses.asdict(tokenizer))` of common/export/standalone/words.py does the
    same without TensorFlow.

    Args:
        lower: writes capitals as small letters.
        marks: what becomes of all other characters. "drop": they separate words. "split": each is
            a word of its own, except spaces. "keep": spaces alone separate words, and nothing else
            is changed, as text needs that is split into words already.
    """

    lower: bool = True
    marks: Literal["drop", "split", "keep"] = "drop"

    def __call__(self, text: tf.Tensor) -> tf.RaggedTensor:
        """The words of each text."""
        return tf.strings.split(self.standardize(text))

    def split(self, text: str) -> list[str]:
        """The words of one text, outside a graph."""
        return self.standardize(tf.constant(text)).numpy().decode().split()

    def standardize(self, text: tf.Tensor) -> tf.Tensor:
        """The words, one space between.

        Args:
            text: string, any shape, UTF-8 (each byte that is not UTF-8 counts as U+FFFD, a mark);
                characters may be composed or not.

        Returns:
            string, the same shape; "" where there is no word.
        """
        text = unicode.compose(tf.strings.unicode_transcode(text, "UTF-8", "UTF-8"))
        if self.marks != "keep":
            text = tf.strings.regex_replace(text, r"[\x{2019}`]", "'")
        if self.marks == "drop":
            # Two spaces, so that the quotes of two neighbours need not share one.
            text = tf.strings.regex_replace(text, r"[^\pL\pN\pM_']+", "  ")
        elif self.marks == "split":
            pattern = rf"({_WORD}|[^\pZ\p{{Cc}}\p{{Cf}}])"
            text = tf.strings.regex_replace(text, pattern, r" \1 ")
            text = tf.strings.regex_replace(text, r"\p{Cf}", " ")  # such as a byte order mark
        text = tf.strings.regex_replace(text, r"[\pZ\p{Cc}]", " ")
        if self.lower:
            text = tf.strings.lower(text, encoding="utf-8")  # not before: it stops at a NUL
            text = unicode.compose(text)  # again: some letters with a mark have no capital
        if self.marks == "drop":
            text = tf.strings.regex_replace(text, r"(^|\s)'+|'+(\s|$)", " ")  # quotes around words
        return tf.strings.strip(tf.strings.regex_replace(text, " +", " "))


WORDS = Tokenizer()
CASED = Tokenizer(lower=False, marks="split")
SPACES = Tokenizer(lower=False, marks="keep")


Split = Callable[[tf.Tensor], tf.RaggedTensor]
"""string (batch,) -> string (batch, time), as a `Tokenizer`."""


@dataclass(frozen=True)
class Vocabulary:
    """A list of tokens; the id of a token is its place. Made from the training split alone."""

    tokens: tuple[str, ...]

    @classmethod
    def of_words(
        cls, counts: Mapping[str, int], *, min_count: int = 1, max_size: int | None = None
    ) -> "Vocabulary":
        """The four special tokens, then the words by falling count (ties by alphabet)."""
        return cls(SPECIALS + _frequent(counts, min_count, max_size))

    @classmethod
    def of_labels(
        cls, counts: Mapping[str, int], *, min_count: int = 1, max_size: int | None = None
    ) -> "Vocabulary":
        """Classes to choose from, by falling count: no special tokens, so id 0 is a class."""
        return cls(_frequent(counts, min_count, max_size))

    @classmethod
    def load(cls, path: Path, *, size: int | None = None) -> "Vocabulary":
        """Reads one token a line; `size` is how many the model has.

        Raises:
            UserError: the file is absent, empty or cut short, a token stands in it twice, or it
                has more or fewer than `size`.
        """
        if not path.exists():
            raise UserError(f"expected a vocabulary {path}, found none: train again")
        *tokens, rest = files.read_text(path).split("\n")
        distinct = len(set(tokens))
        wanted = "distinct tokens" if size is None else f"{size} distinct tokens"
        if rest or not tokens or len(tokens) != distinct or distinct != (size or distinct):
            raise UserError(
                f"{path}: expected {wanted}, one a line, each line ended; "
                f"got {len(tokens)} lines, {distinct} distinct: train again"
            )
        return cls(tuple(tokens))

    def save(self, path: Path) -> None:
        """Writes one token a line, whole or not at all.

        Raises:
            UserError: a token would not be read again as it is, such as one with a line break; or
                other tokens are there: a run continues with other data than it began with.
        """
        content = "".join(f"{token}\n" for token in self.tokens)
        stored = files.decode_text(content.encode(errors="replace"), str(path)).split("\n")
        odd = [token for token, read in zip(self.tokens, stored, strict=False) if token != read]
        if odd:
            raise UserError(
                f"{path}: expected tokens that a line of a file can hold, got {odd[0]!r}: change "
                "it where the data is read, as `tables.one_line` does"
            )
        if path.exists() and self.load(path) != self:
            raise UserError(
                f"expected data with the tokens of {path}, got others: resume the run with the "
                "data that it began with (--data.root), or start another"
            )
        files.write_text(path, content)

    def __len__(self) -> int:
        return len(self.tokens)

    def make_table(self, *, unknown: int) -> tf.lookup.StaticHashTable:
        """A table from token (string) to id (int32), usable in graphs; `unknown` for the others."""
        ids = tf.range(len(self), dtype=tf.int32)
        initializer = tf.lookup.KeyValueTensorInitializer(tf.constant(self.tokens), ids)
        return tf.lookup.StaticHashTable(initializer, default_value=unknown)


def encode(
    text: tf.Tensor,
    table: tf.lookup.StaticHashTable,
    *,
    max_words: int,
    tokenizer: Split = WORDS,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Turns strings into padded word ids.

    Text is string (batch,), `table` from `Vocabulary.make_table(unknown=UNK)`, `tokenizer` the one
    that made the words of the vocabulary. Words beyond `max_words` are cut off.

    Returns:
        token_ids int32 (batch, time), PAD at the end of shorter rows, and token_mask bool
        (batch, time), True = real. Time is at least 1; a row without words is all padding.
    """
    split = tokenizer(text)
    lengths = tf.minimum(split.row_lengths(), max_words)
    # At least one step: an LSTM cannot run over zero of them.
    time = tf.maximum(tf.reduce_max(lengths), 1)
    token_mask = tf.sequence_mask(lengths, time)
    padded = pad(split, time)
    return tf.where(token_mask, table.lookup(padded), PAD), token_mask


def pad(ragged: tf.RaggedTensor, time: tf.Tensor) -> tf.Tensor:
    """Rows (batch, None, ...) cut at, or filled with zeros or "" up to, `time` int64 ().

    One operation: slices of ragged tensors take dozens, and long to trace.
    """
    shape = [None, None, *ragged.shape[2:]]
    padded = ragged.to_tensor(shape=tf.stack([-1, time, *shape[2:]]))
    return tf.ensure_shape(padded, shape)


def assert_words(token_mask: tf.Tensor, name: str) -> tf.Tensor:
    """Fails inside the graph, naming the rows of `token_mask` (batch, time) that are all False."""
    empty = tf.logical_not(tf.reduce_any(token_mask, axis=1))
    message = [f"{name}: expected at least one word, found none in row", tf.where(empty)[:, 0]]
    with tf.control_dependencies(
        [tf.debugging.Assert(tf.logical_not(tf.reduce_any(empty)), message, summarize=20)]
    ):
        return tf.identity(token_mask)


def _frequent(counts: Mapping[str, int], min_count: int, max_size: int | None) -> tuple[str, ...]:
    words = [word for word, count in counts.items() if count >= min_count and word not in SPECIALS]
    return tuple(sorted(words, key=lambda word: (-counts[word], word))[:max_size])
