"""What is taken for what, in frames: by class of phone, and the commonest pairs of phones."""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import confusion_matrix

from apps.phoneme_tagging.phones import CLASSES, fold
from apps.phoneme_tagging.scoring import Tagged

PHONES = [phone for phones in CLASSES.values() for phone in phones]  # the 39, class by class
MOST_PAIRS = 20


def matrix(rows: Sequence[Tagged]) -> np.ndarray:
    """Frames by reference (row) and answer (column), int (39, 39) in the order of `PHONES`.

    Frames without a label, or whose label or answer is the glottal stop, are left out.
    """
    pairs = [
        (fold(wanted, 39), fold(given, 39))
        for row in rows
        for wanted, given in zip(row.frames, row.framewise, strict=True)
    ]
    pairs = [pair for pair in pairs if all(pair)]
    return confusion_matrix(*zip(*pairs, strict=True), labels=PHONES)


def by_class(counts: np.ndarray) -> np.ndarray:
    """(39, 39) -> int (classes, classes), summed in the order of `CLASSES`."""
    member = np.array([[phone in phones for phone in PHONES] for phones in CLASSES.values()], int)
    return member @ counts @ member.T


def as_text(rows: Sequence[Tagged]) -> str:
    """The table by class, in per cent of the reference, and the commonest wrong pairs."""
    counts = matrix(rows)
    classes = by_class(counts)
    shares = 100 * classes / np.maximum(classes.sum(axis=1, keepdims=True), 1)
    lines = ["per cent of the frames of a class (row) taken for another (column)", ""]
    lines.append(" " * 11 + "".join(f"{name:>11}" for name in CLASSES) + f"{'frames':>9}")
    for name, share, count in zip(CLASSES, shares, classes.sum(axis=1), strict=True):
        lines.append(f"{name:<11}" + "".join(f"{one:11.1f}" for one in share) + f"{count:9d}")
    wrong = counts * (1 - np.eye(len(PHONES), dtype=int))
    lines += ["", "the commonest mistakes, per cent of all frames", ""]
    for place in np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]:
        wanted, given = np.unravel_index(place, wrong.shape)
        share = 100 * wrong[wanted, given] / max(counts.sum(), 1)
        lines.append(f"{PHONES[given]:>4} for {PHONES[wanted]:<4} {share:6.2f}")
    return "\n".join(lines) + "\n"
