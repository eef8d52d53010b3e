"""Pictures and HTML of the outputs of a model, for the page."""

import html
import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageOps

_MOST = 480  # pixels of a picture's longer side


def over_image(image: bytes, attention: Sequence | np.ndarray) -> Image.Image:
    """The image under attention (rows, columns), which is scaled to its own maximum."""
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(image))).convert("RGB")
    picture.thumbnail((_MOST, _MOST))
    picture = picture.resize([max(side, 96) for side in picture.size])
    shares = np.array(attention, np.float32)
    shares = Image.fromarray(shares / max(float(shares.max()), 1e-9))
    shares = np.asarray(shares.resize(picture.size, Image.Resampling.BILINEAR)).clip(0, 1)
    colours = matplotlib.colormaps["inferno"](shares)[..., :3] * 255
    mixed = 0.4 * np.asarray(picture, np.float32) + 0.6 * colours
    return Image.fromarray(mixed.astype(np.uint8))


def heat_map(
    values: Sequence | np.ndarray, row_labels: Sequence[str] = (), column_labels: Sequence[str] = ()
) -> Image.Image:
    """Numbers (rows, columns) as colours, with a scale and the labels where there are any."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axis = figure.subplots()
    figure.colorbar(axis.imshow(np.array(values, np.float64), aspect="auto"))
    if row_labels:
        axis.set_yticks(range(len(row_labels)), row_labels, parse_math=False)
    if column_labels:
        axis.set_xticks(range(len(column_labels)), column_labels, rotation=60, parse_math=False)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Image.open(file)


def listed(values: dict[str, object]) -> str:
    """Values by name, as an HTML list."""
    items = "".join(
        f"<dt style='opacity: 0.6'>{html.escape(name)}</dt>"
        f"<dd style='font-size: 1.3em'>{html.escape(str(value))}</dd>"
        for name, value in values.items()
    )
    return f"<dl>{items}</dl>"


def ranked(texts: Sequence[str]) -> str:
    """Sentences, best first, as a numbered HTML list."""
    items = "".join(f'<li style="margin: 0.5em 0">{html.escape(text)}</li>' for text in texts)
    return f'<ol aria-label="sentences, best first">{items}</ol>'
