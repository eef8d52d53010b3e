"""Pictures of which words counted."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.plots import figures


def attention_over_words(
    question_words: Sequence[str],
    candidate_words: Sequence[str],
    attention: np.ndarray,
    alignment: np.ndarray,
    *,
    title: str,
    path: Path,
) -> None:
    """Draws the attention of each question word over the candidate's words, and the words' shares.

    Args:
        question_words: rows.
        candidate_words: columns.
        attention: float (candidate_words,), summing to 1.
        alignment: float (question_words, candidate_words).
        title: e.g. question and candidate; long ones are cut.
        path: .png, .pdf or .svg.

    Raises:
        UserError: the suffix of `path` is none that can be drawn.
    """
    columns, rows = len(candidate_words), len(question_words)
    figure = figures.start(path, size=(2.5 + 0.32 * columns, 2.6 + 0.3 * rows))
    shares, grid = figure.subplots(2, 1, sharex=True, height_ratios=[1.2, 0.3 * rows + 0.3])
    shares.bar(range(columns), attention, color="#3b6ea5")
    shares.set_ylabel("share in score")
    shares.spines[["top", "right"]].set_visible(False)
    image = grid.imshow(alignment, cmap="inferno", aspect="auto", vmin=0)
    figure.colorbar(image, ax=grid, label="attention", pad=0.01)
    grid.set_yticks(range(rows), question_words, parse_math=False)
    grid.set_xticks(
        range(columns),
        [word[:16] for word in candidate_words],
        rotation=60,
        ha="right",
        parse_math=False,
    )
    grid.set_xlabel("candidate")
    grid.set_ylabel("question")
    figures.finish(figure, title=title, path=path)


_MOST_CANDIDATES = 4  # of a question, on one picture
_LETTERS = 110  # of a line
_SCORE = 8  # of them for a score


def questions_with_candidates(
    shown: Sequence[tuple[str, Sequence[tuple[int, str]]]], *, title: str, path: Path
) -> None:
    """Writes questions with some candidates each on one picture, right ones green.

    Args:
        shown: question, and (label, candidate) of each; right ones come first, four are written.
        title: long ones are cut.
        path: .png, .pdf or .svg.

    Raises:
        UserError: the suffix of `path` is none that can be drawn.
    """
    lines = []
    for question, candidates in shown:
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
    shown: Sequence[tuple[float, Sequence[str], np.ndarray]], *, title: str, path: Path
) -> None:
    """Writes sentences in their order; words that counted above the mean stand out.

    Args:
        shown: score, words and attention float (words,), which sums to 1, of each, best first.
        title: e.g. the question; long ones are cut.
        path: .png, .pdf or .svg.

    Raises:
        UserError: the suffix of `path` is none that can be drawn.
    """
    placed, line = [], 0
    for score, words, attention in shown:
        placed.append((f"{score:+.2f}", 0, line, 0.0))
        above, column = np.maximum(attention - attention.mean(), 0), 0
        for word, share in zip(words, above / max(above.max(), 1e-9), strict=True):
            if column and column + len(word) > _LETTERS - _SCORE:
                line, column = line + 1, 0
            placed.append((word, _SCORE + column, line, share))
            column += len(word) + 1
        line += 2
    figure = figures.start(path, size=(9, 0.6 + 0.21 * line))
    axes = figure.subplots()
    axes.set(xlim=(0, _LETTERS), ylim=(line - 1, -1))
    axes.axis("off")
    for word, column, row, share in placed:
        behind = {"facecolor": (1.0, 0.55, 0.1, 0.75 * share), "edgecolor": "none", "pad": 1.0}
        axes.text(column, row, word, family="monospace", fontsize=9, bbox=behind, parse_math=False)
    figures.finish(figure, title=title, path=path)
