"""Pictures of which words counted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common import plots


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
    figure = plots.start(path, size=(2.5 + 0.32 * columns, 2.6 + 0.3 * rows))
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
    plots.finish(figure, title=title, path=path)
