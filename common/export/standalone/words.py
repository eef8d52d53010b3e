"""Text to words, as the network learned to read it."""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np


def standardize(text: str) -> str:
    """Lower-cases, and leaves letters, digits, "_" and apostrophes inside words."""
    text = re.sub("[\u2019`]", "'", text)
    kept = (c if c in "_'" or unicodedata.category(c)[0] in "LNM" else "  " for c in text)
    text = "".join(kept).lower()
    return " ".join(re.sub(r"(^|\s)'+|'+(\s|$)", " ", text).split())


def padded(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Ids, int32 (rows, time), 0 at the end of shorter rows, and a mask, True = real."""
    time = max(map(len, rows))
    ids = np.array([[*row, *[0] * (time - len(row))] for row in rows], np.int32)
    return ids, np.arange(time) < np.array([[len(row)] for row in rows])
