"""The field's scores: frames right, phone error rate, boundaries; plain Python and NumPy."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rapidfuzz.distance import Levenshtein

from apps.phoneme_tagging.phones import PHONES_61, SILENCE, fold, runs
from common.inputs.audio import FRAME_S, SAMPLE_RATE

if TYPE_CHECKING:
    import tensorflow as tf

TOLERANCE_S = 0.02


class Tagged(NamedTuple):
    """One utterance with what people and a tagger say.

    Attributes:
        frames: the reference of each frame, one of the 61; "" where there is no label.
        framewise: the tagger's most probable phone of each frame.
        decoded: its phone of each frame after decoding.
        phones, starts: the reference string, and where each phone begins, in seconds.
        speaker: who speaks.
    """

    frames: Sequence[str]
    framewise: Sequence[str]
    decoded: Sequence[str]
    phones: Sequence[str]
    starts: Sequence[float]
    speaker: str = ""


def utterances(batch: Mapping[str, "tf.Tensor"], framewise, decoded) -> Iterator[Tagged]:
    """The utterances of a batch of examples.py, without padding.

    Args:
        batch: with the phones that were spoken.
        framewise, decoded: names of phones (batch, frames).
    """
    named = np.asarray([*PHONES_61, ""])[batch["reference_id"].numpy()]  # -1 is ""
    strings, starts = batch["phone"].numpy(), batch["start"].numpy()
    for row, length in enumerate(batch["frame_mask"].numpy().sum(axis=1)):
        spoken = strings[row] != b""
        yield Tagged(
            frames=named[row, :length].tolist(),
            framewise=framewise[row, :length].tolist(),
            decoded=decoded[row, :length].tolist(),
            phones=[phone.decode() for phone in strings[row][spoken]],
            starts=(starts[row][spoken] / SAMPLE_RATE).tolist(),
            speaker=batch["speaker"][row].numpy().decode(),
        )


def score(rows: Sequence[Tagged], *, phone_set: int) -> dict[str, float]:
    """Metrics over all utterances, fractions.

    A frame accuracy applies when the tagger tells that many phones apart. The phone error rate is
    errors by reference phones, both folded to 39, silence included, and at most 1.
    """
    found = {
        f"frame_accuracy_{size}": frame_accuracy(rows, size)
        for size in (61, 48, 39)
        if phone_set >= size
    }
    return found | {"phone_error_rate": min(error_rate(rows), 1.0)}


def details(rows: Sequence[Tagged]) -> dict[str, dict[str, float]]:
    """Silence left out, no decoding, and boundaries."""
    right, given, wanted, errors = 0, 0, 0, []
    for row in rows:
        told = runs(row.decoded)
        hits = _matches([FRAME_S * first for _, first in told[1:]], list(row.starts[1:]))
        right, given, wanted = (
            right + len(hits),
            given + len(told) - 1,
            wanted + len(row.starts) - 1,
        )
        errors += hits
    return {
        "without silence": {
            "frame_accuracy_39": frame_accuracy(rows, 39, silence=False),
            "phone_error_rate": error_rate(rows, silence=False),
        },
        "phone error rate": {"merged frames": error_rate(rows, merged_frames=True)},
        "by speaker": _spread(rows),
        "boundaries within 20 ms": {
            "precision": right / max(given, 1),
            "recall": right / max(wanted, 1),
            "mean error of these, ms": 1000 * float(np.mean(errors)) if errors else 0.0,
        },
    }


def frame_accuracy(rows: Sequence[Tagged], size: int, *, silence: bool = True) -> float:
    """The share of frames with the right phone among 61, 48 or 39."""
    right = total = 0
    for row in rows:
        for wanted, given in zip(row.frames, row.framewise, strict=True):
            phone = fold(wanted, size)
            if phone and (silence or fold(wanted, 39) not in SILENCE):
                right, total = right + (fold(given, size) == phone), total + 1
    return right / max(total, 1)


def error_rate(
    rows: Sequence[Tagged], *, silence: bool = True, merged_frames: bool = False
) -> float:
    """Substitutions, insertions and deletions by the phones of the references, folded to 39.

    Of the decoded string, or with `merged_frames` of the best phones of the frames.
    """
    errors = total = 0
    for row in rows:
        frames = row.framewise if merged_frames else row.decoded
        answer = _folded([phone for phone, _ in runs(frames)], silence)
        reference = _folded(row.phones, silence)
        errors += Levenshtein.distance(answer, reference)
        total += len(reference)
    return errors / max(total, 1)


def by_speaker(rows: Sequence[Tagged]) -> dict[str, dict[str, float]]:
    """Accuracy of frames among 39 and phone error rate of every speaker."""
    found = {}
    for speaker in sorted({row.speaker for row in rows}):
        theirs = [row for row in rows if row.speaker == speaker]
        found[speaker] = {
            "frame_accuracy_61": frame_accuracy(theirs, 61),
            "frame_accuracy_39": frame_accuracy(theirs, 39),
            "phone_error_rate": error_rate(theirs),
        }
    return found


def _spread(rows: Sequence[Tagged]) -> dict[str, float]:
    found = by_speaker(rows)
    accuracies = [one["frame_accuracy_39"] for one in found.values()]
    rates = [one["phone_error_rate"] for one in found.values()]
    return {
        "speakers": len(found),
        "worst frame_accuracy_39": min(accuracies),
        "sd": float(np.std(accuracies)),
        "worst phone_error_rate": max(rates),
        "its sd": float(np.std(rates)),
    }


def _folded(phones: Sequence[str], silence: bool) -> list[str]:
    folded = [fold(phone, 39) for phone in phones]
    return [phone for phone in folded if phone and (silence or phone not in SILENCE)]


def _matches(given: list[float], wanted: list[float]) -> list[float]:
    """Distances of boundaries that match within the tolerance, each used once, in order."""
    found, place = [], 0
    for one in wanted:
        while place < len(given) and given[place] < one - TOLERANCE_S:
            place += 1
        if place < len(given) and given[place] <= one + TOLERANCE_S:
            found.append(abs(given[place] - one))
            place += 1
    return found
