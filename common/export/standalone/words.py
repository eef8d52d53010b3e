"""Text to words: the twin of the tokenizers of common/inputs/text.py."""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

# Of the kinds of characters, see `_kind`.
_WORDS = {
    "drop": re.compile("w+(?:'+w+)*"),
    "split": re.compile("w+(?:'+w+)*|[^ f]"),
    "keep": re.compile("[^ ]+"),
}


def split(text: str, *, lower: bool = True, marks: str = "drop") -> list[str]:
    """The words of a text; the options are those of `text.Tokenizer`, by default of `text.WORDS`.

    Args:
        text: of any characters.
        lower: writes capitals as small letters.
        marks: characters that are no letter, digit, "_" or apostrophe inside a word are left out
            ("drop"), or words of their own ("split"), or part of words between spaces ("keep").
    """
    text = unicodedata.normalize("NFC", text)
    if marks != "keep":
        text = re.sub("[\u2019`]", "'", text)
    kinds = "".join(map(_kind, text))
    words = [text[match.start() : match.end()] for match in _WORDS[marks].finditer(kinds)]
    # Joined: what a capital sigma becomes depends on the letters around it.
    if not lower or not words:
        return words
    # Again: some letters with a mark have no capital.
    return unicodedata.normalize("NFC", " ".join(words).lower()).split(" ")


def standardize(text: str, *, lower: bool = True, marks: str = "drop") -> str:
    """The words of a text, one space between."""
    return " ".join(split(text, lower=lower, marks=marks))


def _kind(character: str) -> str:
    """Part of words "w", apostrophe "'", space " ", control of the format "f", other mark "m"."""
    category = unicodedata.category(character)
    if category[0] in "LNM" or character == "_":
        return "w"
    if character == "'":
        return "'"
    return " " if category[0] == "Z" or category == "Cc" else "f" if category == "Cf" else "m"


def padded(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Ids, int32 (rows, time), 0 at the end of shorter rows, and a mask, True = real."""
    time = max(map(len, rows))
    ids = np.array([[*row, *[0] * (time - len(row))] for row in rows], np.int32)
    return ids, np.arange(time) < np.array([[len(row)] for row in rows])
