"""Pictures of what a model attends to. Drawn without a screen, written whole or not at all."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from common import files
from common.errors import UserError


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
