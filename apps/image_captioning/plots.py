"""Pictures of where a captioner looked: the image, its caption, a heat map for each word."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.plots import figures

_ROWS = 8  # images in one picture


def words_over_images(
    shown: Sequence[tuple[np.ndarray, Sequence[str], np.ndarray, str]], *, path: Path
) -> None:
    """Draws each image with its caption and, beside it, where the model looked at each word.

    Args:
        shown: image uint8 (height, width, 3), its words and "" for the end, attention float
            (time, rows, columns), the caption; the first eight are drawn. The attention of each
            word is scaled to its own maximum, whose share is named.
        path: .png, .pdf or .svg.

    Raises:
        UserError: the suffix of `path` is none that can be drawn.
    """
    shown = shown[:_ROWS]
    columns = 1 + max(len(words) for _, words, _, _ in shown)
    figure = figures.start(path, size=(1.7 * columns, 0.5 + 2.2 * len(shown)))
    axes = figure.subplots(len(shown), columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for row, (image, words, attention, caption) in zip(axes, shown, strict=True):
        row[0].imshow(image)
        row[0].set_title(textwrap.fill(caption, 24), fontsize=8, parse_math=False)
        for axis, word, looked in zip(row[1:], words, attention, strict=False):
            figures.heat_map(axis, image, looked)
            axis.set_title(f"{word or '(end)'}\n{looked.max():.0%}", fontsize=8, parse_math=False)
    title = "Where it looked at each word, and the largest share"
    figures.finish(figure, title=title, path=path)
