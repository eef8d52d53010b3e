"""Viterbi decoding in the graph: scores of frames -> the best string of phones, frame by frame.

No phone of the path is shorter than two frames, but the last one of an utterance: each has two
states, one for its first frame, `entered`, and one for all others, `held`, which alone leads on to
other phones, at the cost of their bigram. State p is the first of phone p, state choices + p the
other.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from common.runs import files

BLOCK = 16  # frames in a turn of the loop
ACOUSTIC_WEIGHT = 1.2  # of the network's log-probabilities, beside those of the bigrams
PRIOR_WEIGHT = 0.5  # 1 would divide the network's probabilities by the phones' share in training


class PhoneCounts(NamedTuple):
    """Counts from training: which phones follow each other, and how many frames each has."""

    bigrams: np.ndarray  # float64 (choices, choices)
    frames: np.ndarray  # float64 (choices,)

    @classmethod
    def load(cls, path: Path) -> "PhoneCounts":
        """Reads phone_counts.json of a run."""
        stored = files.read_json(path, {"bigrams": [[0.0]], "frames": [0.0]})
        return cls(np.asarray(stored["bigrams"]), np.asarray(stored["frames"]))


class Decoder(tf.Module):
    """Logits to phones, with the bigrams of training."""

    def __init__(self, counts: PhoneCounts):
        super().__init__()
        prior = counts.frames / counts.frames.sum()
        self.offset = tf.constant(PRIOR_WEIGHT * np.log(prior + 1e-6), tf.float32)
        self.transitions = tf.constant(transition_scores(counts.bigrams))

    def __call__(self, logits: tf.Tensor, frame_mask: tf.Tensor) -> tf.Tensor:
        """(batch, frames, choices), (batch, frames) -> int32 (batch, frames)."""
        return decode(self.scores(logits), frame_mask, self.transitions)

    def scores(self, logits: tf.Tensor) -> tf.Tensor:
        """What a frame of each phone counts in decoding, (batch, frames, choices)."""
        return ACOUSTIC_WEIGHT * (tf.nn.log_softmax(logits) - self.offset)


def transition_scores(bigrams: np.ndarray) -> np.ndarray:
    """Logarithms of the bigram probabilities, add-one smoothed; a phone does not follow itself.

    Counts (choices, choices), how often the second follows the first -> float32, the same shape.
    """
    smoothed = bigrams + 1.0
    np.fill_diagonal(smoothed, 0.0)
    with np.errstate(divide="ignore"):
        logs = np.log(smoothed / smoothed.sum(axis=1, keepdims=True))
    scores = np.maximum(logs, -1e4)
    np.fill_diagonal(scores, -1e9)
    return scores.astype(np.float32)


def decode(frame_scores: tf.Tensor, mask: tf.Tensor, transitions: tf.Tensor) -> tf.Tensor:
    """The best path through all frames, int32 (batch, time); at padded frames without meaning.

    Args:
        frame_scores: float32 (batch, time, choices), e.g. weighted log-probabilities.
        mask: bool (batch, time), True = real; padding on the right.
        transitions: float32 (choices, choices), from `transition_scores`.
    """
    # Only differences count: sums over an hour would leave them no digits. Where all phones score
    # 0, as at padded frames, no path does better than to stay.
    scores = frame_scores - tf.reduce_max(frame_scores, axis=2, keepdims=True)
    scores = tf.transpose(tf.where(mask[..., None], scores, 0.0), [1, 0, 2])
    time, batch, num_phones = tf.shape(scores)[0], tf.shape(scores)[1], scores.shape[2]
    num_blocks = (time - 1) // BLOCK + 1  # after the first frame
    padded = tf.pad(scores[1:], [[0, num_blocks * BLOCK - (time - 1)], [0, 0], [0, 0]])
    blocks = tf.reshape(padded, [num_blocks, BLOCK, batch, num_phones])
    own = tf.range(2 * num_phones)

    def search(number, entered, held, pointers):
        before = []
        for score in tf.unstack(blocks[number]):
            before.append((entered, held))
            entering = tf.reduce_max(held[:, :, None] + transitions, axis=1)
            entered, held = entering + score, tf.maximum(entered, held) + score
        # What the path does not wait for takes less time for all frames together.
        firsts, others = (tf.stack(states) for states in zip(*before, strict=True))
        came_from = num_phones + tf.argmax(others[..., None] + transitions, 2, tf.int32)
        stayed = tf.where(firsts > others, own[:num_phones], own[num_phones:])
        pointer = tf.cast(tf.concat([came_from, stayed], -1), tf.int16)
        top = tf.reduce_max(tf.maximum(entered, held), axis=-1, keepdims=True)
        return number + 1, entered - top, held - top, pointers.write(number, pointer)

    shape = [BLOCK, None, 2 * num_phones]  # the state before each state
    pointers = tf.TensorArray(tf.int16, num_blocks, element_shape=shape)
    _, entered, held, pointers = tf.while_loop(
        lambda number, *_: number < num_blocks,
        search,
        (0, scores[0], tf.fill([batch, num_phones], -1e9), pointers),
    )

    def trace_back(after, pointer):
        states = [after[0]]
        for frame in reversed(range(BLOCK)):
            previous = tf.cast(pointer[frame], tf.int32)
            states.append(tf.gather(previous, states[-1], batch_dims=1))
        return tf.stack(states[:0:-1])

    last = tf.argmax(tf.concat([entered, held], -1), -1, tf.int32)
    path = tf.scan(trace_back, pointers.stack(), tf.tile(last[None], [BLOCK, 1]), reverse=True)
    return tf.transpose(tf.reshape(path, [-1, batch])[:time] % num_phones)


class Online:
    """The path of `decode` while frames come in, each as soon as it is certain."""

    def __init__(self, transitions: np.ndarray):
        self.transitions = transitions
        self.entered = self.held = np.zeros(0)  # none before the first frame
        self.pointers: list[np.ndarray] = []  # to the states before, from each open frame but one

    def add(self, frame_scores: np.ndarray) -> None:
        """Takes frames, float32 (time, choices)."""
        for score in frame_scores:
            if not len(self.entered):
                self.entered, self.held = score, np.full_like(score, -1e9)
                continue
            ways, own = self.held[:, None] + self.transitions, np.arange(len(score))
            stayed = np.where(self.entered > self.held, own, own + len(score))
            self.pointers.append(np.concatenate([ways.argmax(axis=0) + len(score), stayed]))
            held = np.maximum(self.entered, self.held) + score
            entered = ways.max(axis=0) + score
            top = max(held.max(), entered.max())
            self.entered, self.held = entered - top, held - top

    def certain(self) -> list[int]:
        """The phones of the frames on which all open paths agree, and which are not given yet."""
        states = np.arange(2 * len(self.entered))
        for place in reversed(range(len(self.pointers))):
            states = self.pointers[place][states]
            if (states == states[0]).all():
                path = self._path(states[0], place)
                self.pointers = self.pointers[place:]
                return path[:-1]
        return []

    def rest(self) -> list[int]:
        """The best path through all frames that are left; the end."""
        if not len(self.entered):
            return []
        best = np.concatenate([self.entered, self.held]).argmax()
        return self._path(best, len(self.pointers))

    def _path(self, state: np.integer, place: int) -> list[int]:
        """Phones up to the frame that `place` pointers lead to."""
        path = [state]
        for pointer in reversed(self.pointers[:place]):
            path.append(pointer[path[-1]])
        return [int(state) % len(self.entered) for state in reversed(path)]
