"""Pictures of texts with the words that counted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.plots import figures

_LETTERS = 110  # of a line
_LABEL = 12  # of them for what stands before a text


def labelled_texts(
    texts: Sequence[tuple[str, Sequence[tuple[str, float]]]], *, title: str, path: Path
) -> None:
    """Writes texts below each other; words that counted above the mean stand out.

    Args:
        texts: what stands before each, such as rank and probability, and its words, each with its
            share in the score.
        title: e.g. the question; long ones are cut.
        path: .png, .pdf or .svg.

    Raises:
        UserError: the suffix of `path` is none that can be drawn.
    """
    placed, line = [], 0
    for label, words in texts:
        placed.append((label, 0, line, 0.0))
        shares, column = np.array([share for _, share in words]), 0
        above = np.maximum(shares - shares[shares > 0].mean(), 0)
        for (word, _), strength in zip(words, above / max(above.max(), 1e-9), strict=True):
            if column and column + len(word) > _LETTERS - _LABEL:
                line, column = line + 1, 0
            placed.append((word, _LABEL + column, line, strength))
            column += len(word) + 1
        line += 2
    figure = figures.start(path, size=(9, 0.6 + 0.21 * line))
    axes = figure.subplots()
    axes.set(xlim=(0, _LETTERS), ylim=(line - 1, -1))
    axes.axis("off")
    for word, column, row, strength in placed:
        behind = {"facecolor": (1.0, 0.55, 0.1, 0.75 * strength), "edgecolor": "none", "pad": 1.0}
        axes.text(column, row, word, family="monospace", fontsize=9, bbox=behind, parse_math=False)
    figures.finish(figure, title=title, path=path)
