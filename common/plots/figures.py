"""Pictures: attention and learning curves. Drawn without a screen, written whole or not at all."""

import csv
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from common.runs import files
from common.runs.errors import UserError


def start(path: Path, *, size: tuple[float, float]) -> Figure:
    """An empty figure of `size` inches that `finish` can write to `path`.

    Raises:
        UserError: the suffix of `path` is none that can be drawn.
    """
    if path.suffix not in (".png", ".pdf", ".svg"):
        raise UserError(f"expected a --plot file ending in .png, .pdf or .svg, got {path.name!r}")
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def finish(figure: Figure, *, title: str, path: Path) -> None:
    """Puts a title above, cut where it is long, and writes the file."""
    most = int(12 * figure.get_figwidth())  # letters that fit
    figure.suptitle(title if len(title) <= most else f"{title[: most - 3]}...", parse_math=False)
    with files.replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


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
        attention: float (hops, rows, columns); each hop is scaled to its own maximum, since the
            question is where the model looked, not how sharply; the largest share is named.
        answers: (answer, probability), best first.
        title: e.g. the question; long ones are cut.
        path: .png, .pdf or .svg.

    Raises:
        UserError: the suffix of `path` is none that can be drawn.
    """
    hops = len(attention)
    figure = start(path, size=(3.2 * (hops + 2), 3.6))
    axes = figure.subplots(1, hops + 2)
    axes[0].imshow(image)
    axes[0].set_title("image")
    for hop, (axis, seen) in enumerate(zip(axes[1:-1], attention, strict=True), start=1):
        heat_map(axis, image, seen)
        axis.set_title(f"hop {hop} (largest share {seen.max():.0%})")
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
    columns_in: float = 2.6,
) -> None:
    """Draws images in a grid, each with a text of some short lines under it.

    Args:
        images: uint8 (height, width, 3), of any sizes.
        texts: one for each image.
        title: long ones are cut.
        path: .png, .pdf or .svg.
        columns: images in a row.
        columns_in: width of a column in inches; longer lines are broken.

    Raises:
        UserError: the suffix of `path` is none that can be drawn.
    """
    letters = int(15 * columns_in)  # that fit beside each other
    broken = [
        "\n".join(part for line in one.splitlines() for part in textwrap.wrap(line, letters))
        for one in texts
    ]
    lines = max((one.count("\n") + 1 for one in broken), default=0)
    rows = -(-len(images) // columns)
    high = 0.7 * columns_in + 0.17 * lines + 0.2
    figure = start(path, size=(columns_in * columns, high * rows + 0.4))
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.set(xticks=[], yticks=[], frame_on=False)
    for axis, image, text in zip(axes, images, broken, strict=False):
        axis.imshow(image)
        axis.set_xlabel(text, fontsize=8, parse_math=False)  # a label gets its room
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
    """Draws lines over common steps; where numbers are missing or not finite a line ends.

    Args:
        series: name -> values of one line.
        x_label, y_label: with units.
        title: long ones are cut.
        path: .png, .pdf or .svg.
        first, every: the x of the first value, and how far the next ones are apart.
        log: a logarithmic y axis.

    Raises:
        UserError: the suffix of `path` is none that can be drawn.
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
        title: long ones are cut.
        path: .png, .pdf or .svg.

    Raises:
        UserError: the suffix of `path` is none that can be drawn, or a metric no column.
    """
    with history.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    figure = start(path, size=(4.2 * len(metrics), 3.3))
    for axis, metric in zip(np.atleast_1d(figure.subplots(1, len(metrics))), metrics, strict=True):
        columns = {"training": metric, "validation": f"val_{metric}"}
        columns = {name: column for name, column in columns.items() if column in rows[0]}
        if not columns:
            known = ", ".join(rows[0])
            raise UserError(f"expected metrics out of {known}, got {metric!r}: choose one")
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
