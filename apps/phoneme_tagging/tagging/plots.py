"""Pictures of recordings with their phones, of what a model hears, and of its confusions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from apps.phoneme_tagging.corpora.phones import CLASSES
from apps.phoneme_tagging.tagging.scoring import PHONES_39, Tagged, confusions
from apps.phoneme_tagging.tagging.transcripts import Transcript
from common.inputs.audio import SAMPLE_RATE
from common.plots import figures

MAX_S = 3.0  # seconds of a recording that a contact sheet shows
# Name, waveform float (samples,) at 16 kHz, and (phone, start, end) in samples.
Recording = tuple[str, np.ndarray, Sequence[tuple[str, float, float]]]


def phones_over_spectrogram(
    waveform: np.ndarray, transcript: Transcript, *, title: str, path: Path
) -> None:
    """Draws the spectrogram and the posteriors, with the phones and their boundaries over both.

    Raises:
        UserError: `path` ends with none of .png, .pdf and .svg.
    """
    seconds = len(waveform) / SAMPLE_RATE
    index = transcript.choices.index
    names = sorted({phone.phone for phone in transcript.phones}, key=index)
    rows = transcript.posteriors[:, [index(name) for name in names]].T
    figure = figures.start(path, size=(min(max(4.5 * seconds, 8), 40), 4 + 0.16 * len(names)))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1 + 0.16 * len(names)])
    _draw_spectrogram(above, waveform, [phone[:3] for phone in transcript.phones])
    above.set_ylabel("Hz")
    extent = (0, seconds, len(names) - 0.5, -0.5)
    style = {"aspect": "auto", "cmap": "inferno", "interpolation": "nearest"}
    below.imshow(rows, vmin=0, vmax=1, extent=extent, **style)
    below.set_yticks(range(len(names)), names)
    below.set_xlabel("seconds")
    for phone in transcript.phones:
        below.axvline(phone.start_s, color="white", linewidth=0.4)
    above.set_xlim(0, seconds)
    figures.finish(figure, title=title, path=path)


def labelled_spectrograms(recordings: Sequence[Recording], *, title: str, path: Path) -> None:
    """Draws the beginnings of recordings as spectrograms, with their phones and boundaries.

    Raises:
        UserError: `path` ends with none of .png, .pdf and .svg.
    """
    figure = figures.start(path, size=(13, 2.5 * len(recordings) + 0.5))
    longest_s = max(len(waveform) for _, waveform, _ in recordings) / SAMPLE_RATE
    rows = figure.subplots(len(recordings), 1, squeeze=False)[:, 0]
    for axis, (name, waveform, phones) in zip(rows, recordings, strict=True):
        beginning = waveform[: int(MAX_S * SAMPLE_RATE)]
        times = [(phone, a / SAMPLE_RATE, b / SAMPLE_RATE) for phone, a, b in phones]
        seconds = len(beginning) / SAMPLE_RATE
        _draw_spectrogram(axis, beginning, [time for time in times if time[2] <= seconds])
        axis.set_xlim(0, min(MAX_S, longest_s))
        axis.set_ylabel(f"{name}\nHz", fontsize=8, parse_math=False)
    rows[-1].set_xlabel("seconds")
    figures.finish(figure, title=title, path=path)


def _draw_spectrogram(axis, waveform: np.ndarray, phones: Sequence[tuple[str, float, float]]):
    """Phones are (name, start, end) in seconds."""
    # A little noise, for digital silence has no logarithm.
    audible = waveform + np.random.default_rng(0).normal(0, 1e-5, len(waveform))
    axis.specgram(audible, NFFT=256, Fs=SAMPLE_RATE, noverlap=192, cmap="Greys", vmin=-130)
    for phone, start_s, end_s in phones:
        axis.axvline(start_s, color="#b03a2e", linewidth=0.7)
        place = axis.get_xaxis_transform()
        axis.text((start_s + end_s) / 2, 1.01, phone, transform=place, ha="center", fontsize=8)


def confusion_matrix(rows: Sequence[Tagged], *, title: str, path: Path) -> None:
    """Draws which of the 39 phones is taken for which, as shares of the reference's frames."""
    counts = confusions(rows)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = figures.start(path, size=(9, 8))
    axes = figure.subplots()
    # The root shows small shares too.
    image = axes.imshow(np.sqrt(shares), cmap="magma_r", vmin=0, vmax=1)
    bar = figure.colorbar(image, ticks=np.sqrt([0, 0.02, 0.1, 0.25, 0.5, 1]))
    bar.set_ticklabels(["0", "2 %", "10 %", "25 %", "50 %", "100 %"])
    axes.set_xticks(range(len(PHONES_39)), PHONES_39, rotation=90, fontsize=7)
    axes.set_yticks(range(len(PHONES_39)), PHONES_39, fontsize=7)
    axes.set_xlabel("taken for")
    axes.set_ylabel("spoken")
    for end in np.cumsum([len(phones) for phones in CLASSES.values()])[:-1]:
        axes.axhline(end - 0.5, color="#2874a6", linewidth=0.6)
        axes.axvline(end - 0.5, color="#2874a6", linewidth=0.6)
    figures.finish(figure, title=title, path=path)
