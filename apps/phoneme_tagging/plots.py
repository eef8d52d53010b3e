"""A picture of what the model heard."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from apps.phoneme_tagging import confusion
from apps.phoneme_tagging.phones import CLASSES
from apps.phoneme_tagging.scoring import Tagged
from apps.phoneme_tagging.textgrids import Timed
from common.inputs.audio import SAMPLE_RATE
from common.plots import figures


class Heard(Protocol):
    """Phones with times, and the network's posteriors (frames, choices)."""

    @property
    def phones(self) -> Sequence[Timed]: ...
    @property
    def posteriors(self) -> np.ndarray: ...
    @property
    def choices(self) -> list[str]: ...


def phones_over_spectrogram(waveform: np.ndarray, heard: Heard, *, title: str, path: Path) -> None:
    """Draws the spectrogram and the posteriors, with the phones and their boundaries over both.

    Args:
        waveform: float (samples,) at 16 kHz.
        heard: a `predict.Transcript`.
        title: long ones are cut.
        path: .png, .pdf or .svg.

    Raises:
        UserError: the suffix of `path` is none that can be drawn.
    """
    seconds = len(waveform) / SAMPLE_RATE
    said = sorted({one.phone for one in heard.phones}, key=heard.choices.index)
    rows = heard.posteriors[:, [heard.choices.index(phone) for phone in said]].T
    figure = figures.start(path, size=(min(max(4.5 * seconds, 8), 40), 4 + 0.16 * len(said)))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1 + 0.16 * len(said)])
    # A little noise, for digital silence has no logarithm.
    audible = waveform + np.random.default_rng(0).normal(0, 1e-5, len(waveform))
    above.specgram(audible, NFFT=256, Fs=SAMPLE_RATE, noverlap=192, cmap="Greys", vmin=-130)
    above.set_ylabel("Hz")
    below.imshow(
        rows,
        aspect="auto",
        cmap="inferno",
        vmin=0,
        vmax=1,
        interpolation="nearest",
        extent=(0, seconds, len(said) - 0.5, -0.5),
    )
    below.set_yticks(range(len(said)), said)
    below.set_xlabel("seconds")
    for one in heard.phones:
        above.axvline(one.start_s, color="#b03a2e", linewidth=0.7)
        below.axvline(one.start_s, color="white", linewidth=0.4)
        middle = (one.start_s + one.end_s) / 2
        above.text(middle, 1.01, one.phone, transform=above.get_xaxis_transform(), ha="center")
    above.set_xlim(0, seconds)
    figures.finish(figure, title=title, path=path)


def labelled_spectrograms(
    shown: Sequence[tuple[str, np.ndarray, Sequence[tuple[str, int, int]]]],
    *,
    title: str,
    path: Path,
    most_s: float = 3.0,
) -> None:
    """Draws the beginnings of recordings as spectrograms, with their phones and boundaries.

    Args:
        shown: name, waveform float (samples,) at 16 kHz, and (phone, start, end) in samples.
        title: long ones are cut.
        path: .png, .pdf or .svg.
        most_s: seconds of each that are drawn.

    Raises:
        UserError: the suffix of `path` is none that can be drawn.
    """
    figure = figures.start(path, size=(13, 2.5 * len(shown) + 0.5))
    longest_s = max(len(waveform) for _, waveform, _ in shown) / SAMPLE_RATE
    rows = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for axis, (name, waveform, phones) in zip(rows, shown, strict=True):
        heard = waveform[: int(most_s * SAMPLE_RATE)]
        audible = heard + np.random.default_rng(0).normal(0, 1e-5, len(heard))
        axis.specgram(audible, NFFT=256, Fs=SAMPLE_RATE, noverlap=192, cmap="Greys", vmin=-130)
        for phone, start, end in phones:
            middle = (start + end) / 2 / SAMPLE_RATE
            if end <= len(heard):
                axis.axvline(start / SAMPLE_RATE, color="#b03a2e", linewidth=0.7)
                place = axis.get_xaxis_transform()
                axis.text(middle, 1.01, phone, transform=place, ha="center", fontsize=7)
        axis.set_xlim(0, min(most_s, longest_s))
        axis.set_ylabel(f"{name}\nHz", fontsize=8, parse_math=False)
    rows[-1].set_xlabel("seconds")
    figures.finish(figure, title=title, path=path)


def confusions(rows: Sequence[Tagged], *, title: str, path: Path) -> None:
    """Draws which of the 39 phones is taken for which, as shares of the reference's frames."""
    counts = confusion.matrix(rows)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = figures.start(path, size=(9, 8))
    axes = figure.subplots()
    # The root shows small shares too.
    image = axes.imshow(np.sqrt(shares), cmap="magma_r", vmin=0, vmax=1)
    bar = figure.colorbar(image, ticks=np.sqrt([0, 0.02, 0.1, 0.25, 0.5, 1]))
    bar.set_ticklabels(["0", "2 %", "10 %", "25 %", "50 %", "100 %"])
    names = confusion.PHONES
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_xlabel("taken for")
    axes.set_ylabel("spoken")
    for end in np.cumsum([len(phones) for phones in CLASSES.values()])[:-1]:
        axes.axhline(end - 0.5, color="#2874a6", linewidth=0.6)
        axes.axvline(end - 0.5, color="#2874a6", linewidth=0.6)
    figures.finish(figure, title=title, path=path)
