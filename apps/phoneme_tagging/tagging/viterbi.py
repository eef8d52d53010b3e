"""Viterbi decoding in the graph: scores of frames -> the best string of phones, frame by frame.

Every phone is a chain of `min_frames` states; only the last one repeats, and only it leads on to
other phones, at the cost of their bigram. So no phone of the path is shorter than `min_frames`.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from common.runs import files

BLOCK = 16  # frames
PRIOR_WEIGHT = 0.5  # 1 would divide the network's probabilities by the phones' share in training


class PhoneCounts(NamedTuple):
    """Counts from training: which phones follow each other, and how many frames each has."""

    bigrams: np.ndarray  # float64 (choices, choices)
    frames: np.ndarray  # float64 (choices,)

    @classmethod
    def load(cls, path: Path) -> "PhoneCounts":
        """Reads phone_counts.json of a run."""
        stored = files.read_json(path)
        return cls(np.asarray(stored["bigrams"]), np.asarray(stored["frames"]))


class Decoder(tf.Module):
    """Logits to phones: Viterbi with the bigrams of training and a least duration.

    Args:
        counts: of training.
        acoustic_weight: of the network's log-probabilities, beside those of the bigrams.
        min_frames: least length of a phone.
    """

    def __init__(self, counts: PhoneCounts, *, acoustic_weight: float, min_frames: int):
        super().__init__()
        prior = counts.frames / counts.frames.sum()
        self.offset = tf.constant(PRIOR_WEIGHT * np.log(prior + 1e-6), tf.float32)
        self.transitions = tf.constant(transition_scores(counts.bigrams))
        self.acoustic_weight, self.min_frames = acoustic_weight, min_frames

    def __call__(self, logits: tf.Tensor, frame_mask: tf.Tensor) -> tf.Tensor:
        """(batch, frames, choices), (batch, frames) -> int32 (batch, frames)."""
        return decode(self.scores(logits), frame_mask, self.transitions, min_frames=self.min_frames)

    def scores(self, logits: tf.Tensor) -> tf.Tensor:
        """What a frame of each phone counts in decoding, (batch, frames, choices)."""
        return self.acoustic_weight * (tf.nn.log_softmax(logits) - self.offset)


def transition_scores(bigrams: np.ndarray) -> np.ndarray:
    """Logarithms of the bigram probabilities, add-one smoothed.

    Args:
        bigrams: (choices, choices), how often the second follows the first in training.

    Returns:
        float32 (choices, choices); a phone does not follow itself.
    """
    smoothed = bigrams + 1.0
    np.fill_diagonal(smoothed, 0.0)
    with np.errstate(divide="ignore"):
        logs = np.log(smoothed / smoothed.sum(axis=1, keepdims=True))
    scores = np.maximum(logs, -1e4)
    np.fill_diagonal(scores, -1e9)
    return scores.astype(np.float32)


def decode(
    frame_scores: tf.Tensor, mask: tf.Tensor, transitions: tf.Tensor, *, min_frames: int
) -> tf.Tensor:
    """The best path through all frames.

    Args:
        frame_scores: float32 (batch, time, choices), e.g. weighted log-probabilities.
        mask: bool (batch, time), True = real; padding on the right.
        transitions: float32 (choices, choices), from `transition_scores`.
        min_frames: least length of a phone; the last one of an utterance may be shorter.

    Returns:
        int32 (batch, time), phones; what stands at padded frames has no meaning.
    """
    # Only differences count: sums over an hour would leave them no digits.
    frame_scores -= tf.reduce_max(frame_scores, axis=2, keepdims=True)
    scores, real = tf.transpose(frame_scores, [1, 0, 2]), tf.transpose(mask)
    pointers, ends = _search(scores, real, transitions, min_frames)
    # The best state at the last real frame; padded frames hand it on.
    last = tf.maximum(tf.reduce_sum(tf.cast(mask, tf.int32), axis=1) - 1, 0)
    final = tf.gather(tf.transpose(ends), last, batch_dims=1)
    states = _trace_back(pointers, final)  # (frames, batch)
    return tf.transpose(states[: tf.shape(mask)[1]] % frame_scores.shape[2])


def _search(scores, real, transitions, min_frames: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Goes through the frames once, `BLOCK` of them in a turn of the loop.

    Args:
        scores: float32 (time, batch, choices).
        real: bool (time, batch).

    Returns:
        pointers int16 (blocks, BLOCK, batch, states), to the state of the frame before, from the
        second frame on; the best state of every frame, int32 (1 + blocks * BLOCK, batch). A state
        is the number of the phone and `choices` times that of its place in the phone's chain.
    """
    (time, batch), num_phones = tf.unstack(tf.shape(real)), scores.shape[2]
    num_blocks = tf.maximum(-(-(time - 1) // BLOCK), 1)
    more = [[0, num_blocks * BLOCK - (time - 1)], [0, 0]]
    blocks = [num_blocks, BLOCK, batch]
    waiting = tf.reshape(tf.pad(scores[1:], [*more, [0, 0]]), [*blocks, num_phones])
    here = tf.reshape(tf.pad(real[1:], more), blocks)

    def body(number, chain, pointers, ends):
        befores, chains = [], [chain]
        for score in tf.unstack(waiting[number]):
            entering = tf.reduce_max(chain[-1][:, :, None] + transitions, axis=1)
            befores.append(entering if min_frames == 1 else chain[-2])
            reached = tf.maximum(befores[-1], chain[-1])
            inner = [] if min_frames == 1 else [entering, *chain[:-2]]
            chain = tuple(state + score for state in (*inner, reached))
            chains.append(chain)
        # What the path does not wait for takes less time for all frames together.
        depths = [tf.stack(states) for states in zip(*chains, strict=True)]
        stays = depths[-1][:-1]
        came_from = tf.argmax(stays[..., None] + transitions, 2, tf.int32)
        pointer = _pointers(came_from, tf.stack(befores) > stays, here[number], min_frames)
        every = tf.concat([states[1:] for states in depths], axis=-1)  # (BLOCK, batch, states)
        best = tf.argmax(every, -1, tf.int32)
        top = tf.reduce_max(every[-1], axis=-1, keepdims=True)
        chain = tuple(state - top for state in chain)
        return number + 1, chain, pointers.write(number, pointer), ends.write(number, best)

    start = (scores[0], *[tf.fill([batch, num_phones], -1e9)] * (min_frames - 1))
    shapes = [BLOCK, None, min_frames * num_phones], [BLOCK, None]
    arrays = [
        tf.TensorArray(dtype, num_blocks, element_shape=shape)
        for dtype, shape in zip((tf.int16, tf.int32), shapes, strict=True)
    ]
    _, _, pointers, ends = tf.while_loop(
        lambda number, *_: number < num_blocks, body, (0, start, *arrays)
    )
    first = tf.argmax(scores[0], -1, tf.int32)[None]
    return pointers.stack(), tf.concat([first, tf.reshape(ends.stack(), [-1, batch])], 0)


def _pointers(came_from, moved, real, min_frames: int) -> tf.Tensor:
    """The state before each state, int16 (frames, batch, states); itself at padded frames.

    Args:
        came_from: int32 (frames, batch, choices), the best phone to enter each phone from.
        moved: bool (frames, batch, choices), whether the last state of a chain was reached from
            the one before it.
        real: bool (frames, batch).
    """
    num_phones = came_from.shape[-1]
    own = tf.range(min_frames * num_phones)
    last = own[-num_phones:]
    if min_frames == 1:
        before = tf.where(moved, came_from, last)
    else:
        inner = own[: -2 * num_phones] + tf.zeros_like(came_from[..., :1])
        reached = tf.where(moved, last - num_phones, last)
        before = tf.concat([came_from + last[0], inner, reached], axis=-1)
    return tf.cast(tf.where(real[..., None], before, own), tf.int16)


def _trace_back(pointers, final) -> tf.Tensor:
    """Follows the pointers from the last state to the first frame: int32 (frames, batch).

    All blocks at once are followed from each state they could end in; that tells where each does
    end, and then all are followed from there.
    """
    num_blocks, _, batch, num_states = tf.unstack(tf.shape(pointers))
    maps = tf.unstack(pointers, axis=1, num=BLOCK)  # of (blocks, batch, states)

    def follow(state, frame):
        return tf.cast(tf.gather(maps[frame], state, batch_dims=2), tf.int32)

    begins = tf.broadcast_to(tf.range(num_states), [num_blocks, batch, num_states])
    for frame in reversed(range(BLOCK)):
        begins = follow(begins, frame)
    begins = tf.scan(
        lambda end, begin: tf.gather(begin, end, batch_dims=1), begins, final, reverse=True
    )  # (blocks, batch): the state before each block
    states = [tf.concat([begins[1:], final[None]], 0)[..., None]]
    for frame in reversed(range(1, BLOCK)):
        states.append(follow(states[-1], frame))
    within = tf.concat(states[::-1], axis=-1)  # (blocks, batch, BLOCK)
    within = tf.reshape(tf.transpose(within, [0, 2, 1]), [-1, batch])
    return tf.concat([tf.concat([begins, final[None]], 0)[:1], within], 0)


class Online:
    """The path of `decode` while frames come in, each as soon as it is certain.

    Args:
        transitions: float32 (choices, choices), from `transition_scores`.
        min_frames: least length of a phone.
    """

    def __init__(self, transitions: np.ndarray, *, min_frames: int):
        self.transitions, self.min_frames = transitions, min_frames
        self.chain = np.zeros(0)  # (min_frames, choices), as in `decode`; none before the first
        self.pointers: list[tuple[np.ndarray, np.ndarray]] = []  # from each open frame but one

    def add(self, frame_scores: np.ndarray) -> None:
        """Takes frames, float32 (time, choices)."""
        for score in frame_scores:
            if not len(self.chain):
                self.chain = np.full((self.min_frames, len(score)), -1e9, np.float32)
                self.chain[0] = score
                continue
            chain = self.chain
            ways = chain[-1][:, None] + self.transitions
            entering, stays = ways.max(axis=0), chain[-1]
            before = entering if self.min_frames == 1 else chain[-2]
            last = np.maximum(before, stays)
            inner = [] if self.min_frames == 1 else [entering[None], chain[:-2]]
            self.pointers.append((ways.argmax(axis=0), before > stays))
            self.chain = np.concatenate([*inner, last[None]]) + score
            self.chain -= self.chain.max()

    def certain(self) -> list[int]:
        """The phones of the frames on which all open paths agree, and which are not given yet."""
        open_states = np.flatnonzero(self.chain.ravel() > -1e8)
        depth, phone = np.divmod(open_states, max(self.chain.shape[-1], 1))
        for place in range(len(self.pointers) - 1, -1, -1):
            depth, phone = self._back(depth, phone, place)
            if (depth == depth[0]).all() and (phone == phone[0]).all():
                path = self._path(depth[:1], phone[:1], place)
                self.pointers = self.pointers[place:]
                return path[:-1]
        return []

    def rest(self) -> list[int]:
        """The best path through all frames that are left; the end."""
        if not len(self.chain):
            return []
        chain: Any = self.chain
        depth, phone = np.divmod(chain.argmax(keepdims=True).ravel(), chain.shape[1])
        return self._path(depth, phone, len(self.pointers))

    def _path(self, depth: np.ndarray, phone: np.ndarray, place: int) -> list[int]:
        """Phones up to the frame that `place` pointers lead to."""
        path = [int(phone[0])]
        for earlier in range(place - 1, -1, -1):
            depth, phone = self._back(depth, phone, earlier)
            path.append(int(phone[0]))
        return path[::-1]

    def _back(self, depth: np.ndarray, phone: np.ndarray, place: int):
        """The states of the frame before, of paths that end in these."""
        came_from, moved = self.pointers[place]
        left = moved[phone]
        if self.min_frames == 1:
            return depth, np.where(left, came_from[phone], phone)
        entered, waits = depth == 0, (depth == self.min_frames - 1) & ~left
        earlier = np.where(waits, depth, depth - 1)
        return (
            np.where(entered, self.min_frames - 1, earlier),
            np.where(entered, came_from[phone], phone),
        )
