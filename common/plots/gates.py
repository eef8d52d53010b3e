"""Figures of the gates and states of a recurrent layer, from `inspection.trace`; see `figures`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.inputs.audio import SAMPLE_RATE
from common.plots import figures

GATES = ("input", "forget", "output", "update", "reset")
TITLES = {"candidate": "candidate", "cell": "cell state", "hidden": "hidden state"}


def gates_over_words(
    traced: Mapping[str, np.ndarray],
    words: Sequence[str],
    *,
    title: str,
    path: Path,
    num_units: int = 16,
) -> None:
    """Draws every gate and state of one sentence, a column for each word.

    Args:
        traced: name -> (time, units), one row of `inspection.trace`.
        words: one for each step.
        num_units: number of units that are drawn, those whose state changes most.
    """
    rows = -(-len(traced) // 3)
    figure = figures.start(path, size=(3 * max(2.2, 0.5 * len(words)), 0.8 + 2.6 * rows))
    axes = figure.subplots(rows, 3, sharex=True, sharey=True, squeeze=False)
    for axis in axes.flat[len(traced) :]:
        axis.set_axis_off()
    _heat_maps(figure, list(axes.flat), traced, extent=None, num_units=num_units)
    for axis in axes[-1]:
        axis.set_xticks(range(len(words)), words, rotation=60, ha="right", parse_math=False)
    figures.finish(figure, title=title, path=path)


def gates_over_sound(
    traced: Mapping[str, np.ndarray],
    waveform: np.ndarray,
    segments: Sequence[tuple[str, float, float]],
    *,
    title: str,
    path: Path,
    num_units: int = 16,
) -> None:
    """Draws the waveform with its phones, and below it every gate and state over time.

    Args:
        traced: name -> (frames, units), one row of `inspection.trace`.
        waveform: float (samples,) at 16 kHz.
        segments: (name, start, end in seconds) of the phones.
        num_units: see `gates_over_words`.
    """
    seconds = len(waveform) / SAMPLE_RATE
    figure = figures.start(path, size=(min(max(5 * seconds, 9), 40), 1.6 + 1.3 * len(traced)))
    above, *axes = figure.subplots(1 + len(traced), 1, sharex=True)
    above.plot(np.arange(len(waveform)) / SAMPLE_RATE, waveform, color="#555555", linewidth=0.5)
    above.set_yticks([])
    above.spines[["top", "right", "left"]].set_visible(False)
    for name, start, end in segments:
        middle = (start + end) / 2
        above.text(middle, 1.02, name, transform=above.get_xaxis_transform(), ha="center")
    _heat_maps(figure, axes, traced, extent=(0, seconds), num_units=num_units)
    for axis in (above, *axes):
        for _, start, _ in segments:
            axis.axvline(start, color="black", linewidth=0.5, alpha=0.6)
    axes[-1].set_xlabel("seconds")
    axes[-1].set_xlim(0, seconds)
    figures.finish(figure, title=title, path=path)


def _heat_maps(
    figure: Figure,
    axes: Sequence[Axes],
    traced: Mapping[str, np.ndarray],
    *,
    extent: tuple[float, float] | None,
    num_units: int,
) -> None:
    """One map (units, time) for each gate or state; gates from 0 to 1, states around 0."""
    state = np.asarray(traced.get("cell", traced["hidden"]))
    units = np.argsort(-state.std(axis=0), kind="stable")[:num_units]
    for axis, (name, values) in zip(axes, traced.items(), strict=False):
        part = np.asarray(values)[:, units].T
        largest = 1.0 if name in GATES else max(float(np.abs(part).max()), 1e-6)
        image = axis.imshow(
            part,
            aspect="auto",
            interpolation="nearest",
            cmap="viridis" if name in GATES else "RdBu_r",
            vmin=0 if name in GATES else -largest,
            vmax=largest,
            extent=None if extent is None else (*extent, len(units) - 0.5, -0.5),
        )
        axis.set_title(TITLES.get(name, f"{name} gate"), fontsize=10)
        axis.set_yticks([])
        axis.set_ylabel(f"{len(units)} units")
        figure.colorbar(image, ax=axis, pad=0.01)
