"""Pictures and HTML of the outputs of a model, for the page."""

import contextlib
import html
import io
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageOps

_MOST = 480  # pixels of a picture's longer side
_WORD = re.compile(r"[^\W_]+(?:['\u2019`]+[^\W_]+)*")  # what the models read as words


class Phone(NamedTuple):
    """A phone and its time in seconds."""

    phone: str
    start_s: float
    end_s: float


def over_image(image: bytes, attention: Sequence | np.ndarray) -> Image.Image:
    """The image under attention (rows, columns), which is scaled to its own maximum.

    Both are upright: the models turn a photo as its EXIF says before they look at it.
    """
    picture = Image.open(io.BytesIO(image))
    with contextlib.suppress(Exception):  # Pillow raises many kinds for damaged EXIF
        picture = ImageOps.exif_transpose(picture)
    picture = picture.convert("RGB")
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


def marked(text: str, attention: Sequence[float]) -> str:
    """A sentence as HTML; the further a word's share is above the mean, the darker it is marked.

    Unmarked where its words do not match the attention.
    """
    words = list(_WORD.finditer(text))
    shares = np.array(attention[: len(words)], np.float64)
    if not words or np.any(np.array(attention[len(words) :]) > 0) or shares.max(initial=0) <= 0:
        return html.escape(text)
    above = (shares - shares.mean()) / max(shares.max() - shares.mean(), 1e-9)
    parts, end = [], 0
    for word, strength in zip(words, above, strict=False):
        parts.append(html.escape(text[end : word.start()]))
        style = f"background: rgba(240, 140, 0, {0.8 * max(strength, 0):.2f}); border-radius: 3px"
        mark = f'<mark style="{style}; color: inherit">{html.escape(word[0])}</mark>'
        parts.append(mark if strength > 0.01 else html.escape(word[0]))
        end = word.end()
    return "".join([*parts, html.escape(text[end:])])


def ranked(rows: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Sentences with the attention to their words, best first, as a numbered HTML list."""
    items = "".join(
        f'<li style="margin: 0.5em 0">{marked(text, attention)}</li>' for text, attention in rows
    )
    return f'<ol aria-label="sentences, best first">{items}</ol>'


def merged(frames: Sequence[str], start_s: Sequence[float], seconds: float) -> list[Phone]:
    """The phones of frames, neighbours of the same merged; "" ends them."""
    frames = [*frames, ""]
    frames = frames[: frames.index("")]
    starts = [n for n, phone in enumerate(frames) if n == 0 or frames[n - 1] != phone]
    times = [*(start_s[start] for start in starts), seconds]
    return [
        Phone(frames[start], *span) for start, span in zip(starts, pairwise(times), strict=True)
    ]


def phones_over_spectrogram(sound: np.ndarray, rate: int, phones: Sequence[Phone]) -> Figure:
    """Sound, float (samples,), with the phones above; at most the first ten seconds are drawn."""
    seconds = min(len(sound) / rate, 10.0)
    figure = Figure(figsize=(max(8.0, 3.2 * seconds), 3.6), layout="constrained")
    axis = figure.subplots()
    # A little noise, for digital silence has no logarithm.
    audible = sound + np.random.default_rng(0).normal(0, 1e-5, len(sound))
    axis.specgram(audible, NFFT=256, Fs=rate, noverlap=192, cmap="Greys", vmin=-130)
    for phone, start_s, end_s in phones:
        if start_s < seconds:
            axis.axvline(start_s, color="#b03a2e", linewidth=0.8)
            middle = (start_s + min(end_s, seconds)) / 2
            above = axis.get_xaxis_transform()
            axis.text(middle, 1.02, phone, transform=above, ha="center", parse_math=False)
    axis.set(xlim=(0, seconds), xlabel="seconds", ylabel="Hz")
    return figure
