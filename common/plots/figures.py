"""Figures of attention, images and learning curves, drawn without a screen, written atomically.

Each goes to `path`, .png, .pdf or .svg (else a UserError), under a `title`, cut where it is long.
"""

import csv
import functools
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from common.runs import files
from common.runs.errors import UserError

_COLUMN_INCHES = 2.6
_COLUMN_CHARS = int(15 * _COLUMN_INCHES)
# For letters that matplotlib's own font lacks: Chinese, Japanese, Korean, where one is installed.
_MORE_FONTS = ("Noto Sans CJK JP", "WenQuanYi Zen Hei", "IPAGothic", "Hiragino Sans", "Yu Gothic")


def start(path: Path, *, size: tuple[float, float]) -> Figure:
    """An empty figure of `size` inches that `finish` can write to `path`.

    Raises:
        UserError: `path` has another suffix than .png, .pdf and .svg.
    """
    if path.suffix not in (".png", ".pdf", ".svg"):
        raise UserError(f"expected a --plot file ending in .png, .pdf or .svg, got {path.name!r}")
    _add_fonts()
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def finish(figure: Figure, *, title: str, path: Path) -> None:
    """Adds the title, cut where it is too long, and writes the file."""
    limit = int(12 * figure.get_figwidth())  # characters
    figure.suptitle(title if len(title) <= limit else f"{title[: limit - 3]}...", parse_math=False)
    with files.replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # drawn as a box
        figure.savefig(temporary, dpi=120)


@functools.cache
def _add_fonts() -> None:
    installed = set(font_manager.get_font_names())
    more = [name for name in _MORE_FONTS if name in installed]
    matplotlib.rcParams["font.family"] = ["DejaVu Sans", *more]


def heat_map(axis: Axes, image: np.ndarray, attention: np.ndarray) -> None:
    """Draws attention (rows, columns), scaled to its maximum, over an image (height, width, 3)."""
    height, width = image.shape[:2]
    frame = (-0.5, width - 0.5, height - 0.5, -0.5)  # regions cover the pixels they came from
    axis.imshow(image, alpha=0.35, extent=frame)
    axis.imshow(
        attention / attention.max(),
        cmap="inferno",
        alpha=0.65,
        vmin=0,
        vmax=1,
        extent=frame,
        interpolation="bilinear",
    )


def attention_over_image(
    image: np.ndarray,
    attention: np.ndarray,
    answers: Sequence[tuple[str, float]],
    *,
    title: str,
    path: Path,
) -> None:
    """Draws the image, the attention of each hop over it, and the answers with probabilities.

    Args:
        image: uint8 (height, width, 3).
        attention: float (hops, rows, columns); each hop is scaled to its own maximum, which its
            title names.
        answers: (answer, probability), best first.
    """
    hops = len(attention)
    figure = start(path, size=(3.2 * (hops + 2), 3.6))
    axes = figure.subplots(1, hops + 2)
    axes[0].imshow(image)
    axes[0].set_title("image")
    for hop, (axis, weights) in enumerate(zip(axes[1:-1], attention, strict=True), start=1):
        heat_map(axis, image, weights)
        axis.set_title(f"hop {hop} (largest share {weights.max():.0%})")
    for axis in axes[:-1]:
        axis.set_axis_off()
    names = [name for name, _ in answers][::-1]
    bars = axes[-1].barh(range(len(names)), [share for _, share in answers][::-1], color="#3b6ea5")
    axes[-1].set_yticks(range(len(names)), [name[:24] for name in names], parse_math=False)
    axes[-1].bar_label(bars, fmt="{:.1%}", padding=2)
    axes[-1].set_xlim(0, 1.25)
    axes[-1].set_xticks([0, 0.5, 1])
    axes[-1].spines[["top", "right"]].set_visible(False)
    axes[-1].set_title("answers")
    finish(figure, title=title, path=path)


def images_with_texts(
    images: Sequence[np.ndarray],
    texts: Sequence[str],
    *,
    title: str,
    path: Path,
    columns: int = 4,
) -> None:
    """Draws images in a grid, each with a few short lines of text under it.

    Args:
        images: uint8 (height, width, 3), of any sizes.
        texts: one for each image; long lines are broken.
        columns: images in a row.
    """
    wrapped = [
        "\n".join(part for line in text.splitlines() for part in textwrap.wrap(line, _COLUMN_CHARS))
        for text in texts
    ]
    lines = max((text.count("\n") + 1 for text in wrapped), default=0)
    rows = -(-len(images) // columns)
    height = 0.7 * _COLUMN_INCHES + 0.17 * lines + 0.2
    figure = start(path, size=(_COLUMN_INCHES * columns, height * rows + 0.4))
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.set(xticks=[], yticks=[], frame_on=False)
    for axis, image, text in zip(axes, images, wrapped, strict=False):
        axis.imshow(image)
        axis.set_xlabel(text, fontsize=8, parse_math=False)  # the layout leaves room for labels
    finish(figure, title=title, path=path)


def curves(
    series: Mapping[str, Sequence[float] | np.ndarray],
    *,
    x_label: str,
    y_label: str,
    title: str,
    path: Path,
    first: float = 0,
    every: float = 1,
    log: bool = False,
) -> None:
    """Draws lines over common steps, with gaps where numbers are missing or not finite.

    Args:
        series: name -> values of one line.
        x_label, y_label: with units.
        first, every: the x of the first value, and how far the next ones are apart.
        log: a logarithmic y axis.
    """
    figure = start(path, size=(7.5, 3.6))
    axis = figure.subplots()
    for name, values in series.items():
        axis.plot(first + every * np.arange(len(values)), values, label=name, linewidth=1.4)
    if log:
        axis.set_yscale("log")
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    finish(figure, title=title, path=path)


def learning_curves(history: Path, *, metrics: Sequence[str], title: str, path: Path) -> None:
    """Draws columns of a run's history.csv over the epochs, training beside validation.

    Args:
        history: written by `train`.
        metrics: a panel each, e.g. "loss" for the columns loss and val_loss, where they are.

    Raises:
        UserError: a metric is no column.
    """
    with history.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    figure = start(path, size=(4.2 * len(metrics), 3.3))
    for axis, metric in zip(np.atleast_1d(figure.subplots(1, len(metrics))), metrics, strict=True):
        columns = {"training": metric, "validation": f"val_{metric}"}
        columns = {name: column for name, column in columns.items() if column in rows[0]}
        if not columns:
            raise UserError(
                f"expected metrics out of {', '.join(rows[0])}, got {metric!r}: choose one of them"
            )
        for name, column in columns.items():
            color = {"training": "#888888", "validation": "#3b6ea5"}[name]
            epochs = [int(row["epoch"]) for row in rows]
            values = [float(row[column]) for row in rows]
            axis.plot(epochs, values, "o-", label=name, color=color, markersize=3)
        axis.set_xlabel("epoch")
        axis.set_ylabel(metric.replace("_", " "))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
    finish(figure, title=title, path=path)
