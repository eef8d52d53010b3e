"""The field's scores: frames right, phone error rate, boundaries, confusions by class of phone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from rapidfuzz.distance import Levenshtein
from sklearn.metrics import confusion_matrix

from apps.phoneme_tagging.corpora.phones import CLASSES, PHONES_61, SILENCE, fold, runs
from common.inputs.audio import FRAME_S, SAMPLE_RATE

TOLERANCE_S = 0.02
PHONES_39 = [phone for phones in CLASSES.values() for phone in phones]  # class by class
NUM_PAIRS = 20  # of the commonest confusions


class Tagged(NamedTuple):
    """One utterance with its reference and what a tagger says.

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


class PhoneAccuracy(keras.callbacks.Callback):
    """Puts val_phone_accuracy, 1 - the phone error rate of the decoded strings, into the logs.

    It falls below 0 where more phones are wrong or too many than were spoken. Stands before the
    callbacks that read the logs.

    Args:
        network: in training.
        decode: logits and mask -> ids (batch, frames), as in prediction.
        phones: names of the classes.
        batches: of the validation part.
    """

    def __init__(
        self,
        network: keras.Model,
        decode: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
        phones: Sequence[str],
        batches: tf.data.Dataset,
    ):
        super().__init__()
        self.batches, self.names = batches, np.asarray(phones)

        @tf.function(reduce_retracing=True)
        def tag(features, mask):
            inputs = {"features": features, "frame_mask": mask}
            logits = network(inputs, training=False)["logits"]
            return tf.argmax(logits, axis=-1), decode(logits, mask)

        self.tag = tag

    def on_epoch_end(self, epoch, logs: Any = None):
        """Decodes and scores."""
        rows = []
        for batch in self.batches:
            tagged = self.tag(batch["features"], batch["frame_mask"])
            rows += utterances(batch, *(self.names[ids.numpy()] for ids in tagged))
        logs["val_phone_accuracy"] = 1.0 - error_rate(rows)


def utterances(batch: Mapping[str, tf.Tensor], framewise, decoded) -> Iterator[Tagged]:
    """The utterances of a batch of data.py, without padding.

    Args:
        batch: with the phones that were spoken.
        framewise, decoded: names of phones (batch, frames).
    """
    references = np.asarray([*PHONES_61, ""])[batch["reference_id"].numpy()]  # -1 is ""
    strings, starts = batch["phone"].numpy(), batch["start"].numpy()
    for row, length in enumerate(batch["frame_mask"].numpy().sum(axis=1)):
        spoken = strings[row] != b""
        yield Tagged(
            frames=references[row, :length].tolist(),
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
    accuracies = {
        f"frame_accuracy_{size}": frame_accuracy(rows, size)
        for size in (61, 48, 39)
        if phone_set >= size
    }
    return accuracies | {"phone_error_rate": min(error_rate(rows), 1.0)}


def details(rows: Sequence[Tagged]) -> dict[str, dict[str, float]]:
    """Silence left out, no decoding, and boundaries."""
    num_decoded, num_spoken, distances = 0, 0, []
    for row in rows:
        boundaries = [FRAME_S * first for _, first in runs(row.decoded)[1:]]
        distances += _matches(boundaries, list(row.starts[1:]))
        num_decoded += len(boundaries)
        num_spoken += len(row.starts) - 1
    return {
        "without silence": {
            "frame_accuracy_39": frame_accuracy(rows, 39, silence=False),
            "phone_error_rate": error_rate(rows, silence=False),
        },
        "phone error rate": {"merged frames": error_rate(rows, merged_frames=True)},
        "by speaker": _spread(rows),
        "boundaries within 20 ms": {
            "precision": len(distances) / max(num_decoded, 1),
            "recall": len(distances) / max(num_spoken, 1),
            "mean error of these, ms": 1000 * float(np.mean(distances)) if distances else 0.0,
        },
    }


def frame_accuracy(rows: Sequence[Tagged], size: int, *, silence: bool = True) -> float:
    """The share of frames with the right phone among 61, 48 or 39."""
    correct = total = 0
    for row in rows:
        for reference, answer in zip(row.frames, row.framewise, strict=True):
            phone = fold(reference, size)
            if phone and (silence or fold(reference, 39) not in SILENCE):
                correct, total = correct + (fold(answer, size) == phone), total + 1
    return correct / max(total, 1)


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
    """Accuracy of frames among 61 and 39, and phone error rate, of every speaker."""
    scores = {}
    for speaker in sorted({row.speaker for row in rows}):
        spoken = [row for row in rows if row.speaker == speaker]
        scores[speaker] = {
            "frame_accuracy_61": frame_accuracy(spoken, 61),
            "frame_accuracy_39": frame_accuracy(spoken, 39),
            "phone_error_rate": error_rate(spoken),
        }
    return scores


def _spread(rows: Sequence[Tagged]) -> dict[str, float]:
    scores = by_speaker(rows).values()
    accuracies = [speaker["frame_accuracy_39"] for speaker in scores]
    rates = [speaker["phone_error_rate"] for speaker in scores]
    return {
        "speakers": len(scores),
        "worst frame_accuracy_39": min(accuracies),
        "sd": float(np.std(accuracies)),
        "worst phone_error_rate": max(rates),
        "its sd": float(np.std(rates)),
    }


def _folded(phones: Sequence[str], silence: bool) -> list[str]:
    folded = [fold(phone, 39) for phone in phones]
    return [phone for phone in folded if phone and (silence or phone not in SILENCE)]


def _matches(boundaries: list[float], references: list[float]) -> list[float]:
    """Distances of boundaries that match within the tolerance, each used once, in order."""
    distances, place = [], 0
    for reference in references:
        while place < len(boundaries) and boundaries[place] < reference - TOLERANCE_S:
            place += 1
        if place < len(boundaries) and boundaries[place] <= reference + TOLERANCE_S:
            distances.append(abs(boundaries[place] - reference))
            place += 1
    return distances


def confusions(rows: Sequence[Tagged]) -> np.ndarray:
    """Frames by reference (row) and answer (column), int (39, 39) in the order of `PHONES_39`.

    Frames without a label, or whose label or answer is the glottal stop, are left out.
    """
    pairs = [
        (fold(reference, 39), fold(answer, 39))
        for row in rows
        for reference, answer in zip(row.frames, row.framewise, strict=True)
    ]
    pairs = [pair for pair in pairs if all(pair)]
    return confusion_matrix(*zip(*pairs, strict=True), labels=PHONES_39)


def confusions_by_class(counts: np.ndarray) -> np.ndarray:
    """(39, 39) -> int (classes, classes), summed in the order of `CLASSES`."""
    member = np.array(
        [[phone in phones for phone in PHONES_39] for phones in CLASSES.values()], int
    )
    return member @ counts @ member.T


def confusions_as_text(rows: Sequence[Tagged]) -> str:
    """The table by class, in per cent of the reference, and the commonest wrong pairs."""
    counts = confusions(rows)
    classes = confusions_by_class(counts)
    shares = 100 * classes / np.maximum(classes.sum(axis=1, keepdims=True), 1)
    lines = ["per cent of the frames of a class (row) taken for another (column)", ""]
    lines.append(" " * 11 + "".join(f"{name:>11}" for name in CLASSES) + f"{'frames':>9}")
    for name, row, count in zip(CLASSES, shares, classes.sum(axis=1), strict=True):
        lines.append(f"{name:<11}" + "".join(f"{share:11.1f}" for share in row) + f"{count:9d}")
    wrong = counts * (1 - np.eye(len(PHONES_39), dtype=int))
    lines += ["", "the commonest mistakes, per cent of all frames", ""]
    for place in np.argsort(-wrong, axis=None, kind="stable")[:NUM_PAIRS]:
        reference, answer = np.unravel_index(place, wrong.shape)
        share = 100 * wrong[reference, answer] / max(counts.sum(), 1)
        lines.append(f"{PHONES_39[answer]:>4} for {PHONES_39[reference]:<4} {share:6.2f}")
    return "\n".join(lines) + "\n"
