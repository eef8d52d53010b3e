"""Pictures of questions and of the words of their candidates that counted."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.plots import figures

_MOST_CANDIDATES = 4  # of a question, on one picture
_LETTERS = 110  # of a line
_LABEL = 12  # of them for rank and probability


def questions_with_candidates(
    questions: Sequence[tuple[str, Sequence[tuple[int, str]]]], *, title: str, path: Path
) -> None:
    """Writes questions with some candidates each on one picture, right ones green.

    Args:
        questions: text, and (label, candidate) of each; right ones come first, four are written.
        title: long ones are cut.
        path: .png, .pdf or .svg.

    Raises:
        UserError: the suffix of `path` is none that can be drawn.
    """
    lines = []
    for question, candidates in questions:
        lines.append((textwrap.shorten(question, _LETTERS), "black", "bold"))
        for label, text in sorted(candidates, reverse=True)[:_MOST_CANDIDATES]:
            word, color = ("right", "#1e7b34") if label else ("wrong", "#8a8a8a")
            lines.append((f"    {word}  {textwrap.shorten(text, _LETTERS)}", color, "normal"))
        lines.append(("", "black", "normal"))
    figure = figures.start(path, size=(10, 0.5 + 0.2 * len(lines)))
    axis = figure.subplots()
    axis.set_axis_off()
    for row, (text, color, weight) in enumerate(lines):
        place = (0, 1 - (row + 0.5) / len(lines))
        axis.text(*place, text, color=color, weight=weight, fontsize=9, parse_math=False)
    figures.finish(figure, title=title, path=path)


def ranked_sentences(
    sentences: Sequence[tuple[float, Sequence[tuple[str, float]]]], *, title: str, path: Path
) -> None:
    """Writes sentences in their order; words that counted above the mean stand out.

    Args:
        sentences: best first; of each the probability that it answers, and (word, share) of the
            words as given, where the shares sum to 1.
        title: e.g. the question; long ones are cut.
        path: .png, .pdf or .svg.

    Raises:
        UserError: the suffix of `path` is none that can be drawn.
    """
    placed, line = [], 0
    for rank, (probability, words) in enumerate(sentences, start=1):
        placed.append((f"{rank}. {probability:7.1%}", 0, line, 0.0))
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
