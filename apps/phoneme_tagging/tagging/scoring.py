"""The field's scores: frames right, phone error rate, boundaries, confusions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from rapidfuzz.distance import Levenshtein
from sklearn.metrics import confusion_matrix

from apps.phoneme_tagging.corpora.phones import CLASSES, PHONES_61, SILENCE, fold, runs
from common.inputs.audio import FRAME_S, SAMPLE_RATE
from common.lstm.layer import machine_code

TOLERANCE_S = 0.02
PHONES_39 = [phone for phones in CLASSES.values() for phone in phones]  # class by class
NUM_PAIRS = 20  # of the commonest confusions


class Tagged(NamedTuple):
    """One utterance with its reference and what a tagger says."""

    frames: Sequence[str]  # the reference of each, one of the 61; "" where there is no label
    framewise: Sequence[str]  # the tagger's most probable phone of each frame
    decoded: Sequence[str]  # its phone of each frame after decoding
    phones: Sequence[str]  # the reference string
    starts: Sequence[float]  # where each of its phones begins, in seconds
    speaker: str = ""


class PhoneAccuracy(keras.callbacks.Callback):
    """Puts val_phone_accuracy, 1 - the phone error rate of the decoded strings, into the logs.

    It falls below 0 where more phones are wrong or too many than were spoken. Stands before the
    callbacks that read the logs. `decode` makes ids (batch, frames) of logits and mask.
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
            with machine_code():
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

    `framewise` and `decoded` are names of phones (batch, frames).
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
    sizes = [size for size in (61, 48, 39) if phone_set >= size]
    accuracies = {f"frame_accuracy_{size}": frame_accuracy(rows, size) for size in sizes}
    return accuracies | {"phone_error_rate": min(error_rate(rows), 1.0)}


def details(rows: Sequence[Tagged]) -> dict[str, dict[str, float]]:
    """Silence left out, no decoding, and boundaries."""
    num_decoded, num_spoken, distances = 0, 0, []
    for row in rows:
        boundaries = [FRAME_S * first for _, first in runs(row.decoded)[1:]]
        distances += _matches(boundaries, list(row.starts[1:]))
        num_decoded += len(boundaries)
        num_spoken += len(row.starts) - 1
    speakers = by_speaker(rows).values()
    accuracies = [speaker["frame_accuracy_39"] for speaker in speakers]
    rates = [speaker["phone_error_rate"] for speaker in speakers]
    return {
        "without silence": {
            "frame_accuracy_39": frame_accuracy(rows, 39, silence=False),
            "phone_error_rate": error_rate(rows, silence=False),
        },
        "phone error rate": {"merged frames": error_rate(rows, merged_frames=True)},
        "by speaker": {
            "speakers": len(speakers),
            "worst frame_accuracy_39": min(accuracies),
            "sd": float(np.std(accuracies)),
            "worst phone_error_rate": max(rates),
            "its sd": float(np.std(rates)),
        },
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

    def folded(phones: Sequence[str]) -> list[str]:
        names = [fold(phone, 39) for phone in phones]
        return [phone for phone in names if phone and (silence or phone not in SILENCE)]

    errors = total = 0
    for row in rows:
        frames = row.framewise if merged_frames else row.decoded
        reference = folded(row.phones)
        errors += Levenshtein.distance(folded([phone for phone, _ in runs(frames)]), reference)
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


def confusions_as_text(rows: Sequence[Tagged]) -> str:
    """The commonest wrong pairs, in per cent of all frames."""
    counts = confusions(rows)
    shares = 100 * counts * (1 - np.eye(len(PHONES_39))) / max(counts.sum(), 1)
    lines = ["the commonest mistakes, per cent of all frames", ""]
    for place in np.argsort(-shares, axis=None, kind="stable")[:NUM_PAIRS]:
        reference, answer = np.unravel_index(place, shares.shape)
        share = shares[reference, answer]
        if share > 0:
            lines.append(f"{PHONES_39[answer]:>4} for {PHONES_39[reference]:<4} {share:6.2f}")
    return "\n".join(lines) + "\n"
