"""Viterbi decoding in the graph: scores of frames -> the best string of phones, frame by frame.

Every phone is a chain of `min_frames` states; only the last one repeats, and only it leads on to
other phones, at the cost of their bigram. So no phone of the path is shorter than `min_frames`.
"""

import numpy as np
import tensorflow as tf


def transition_scores(bigrams: np.ndarray, *, weight: float) -> np.ndarray:
    """Logarithms of the bigram probabilities, add-one smoothed, times `weight`.

    Args:
        bigrams: (choices, choices), how often the second follows the first in training.
        weight: 0 makes all phones equally likely to follow, at no cost.

    Returns:
        float32 (choices, choices); a phone does not follow itself.
    """
    smoothed = bigrams + 1.0
    np.fill_diagonal(smoothed, 0.0)
    with np.errstate(divide="ignore"):
        logs = np.log(smoothed / smoothed.sum(axis=1, keepdims=True))
    scores = weight * np.maximum(logs, -1e4)
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
    batch, num_phones = tf.shape(frame_scores)[0], frame_scores.shape[2]
    scores = tf.transpose(frame_scores, [1, 0, 2])  # (time, batch, choices)
    real = tf.transpose(mask)
    # chain[:, d, k]: the best path that ends in state d of phone k
    chain = tf.concat(
        [scores[:1], tf.fill([min_frames - 1, batch, num_phones], -1e9)], axis=0
    )  # (min_frames, batch, choices)
    nothing = (
        tf.zeros([batch, num_phones], tf.int32),
        tf.zeros([batch, num_phones], tf.bool),
    )

    def step(before, now):
        chain, _, _ = before
        score, here = now
        ways = chain[-1][:, :, None] + transitions[None]  # (batch, from, to)
        entering = tf.reduce_max(ways, axis=1)
        came_from = tf.argmax(ways, axis=1, output_type=tf.int32)
        stays = chain[-1]
        if min_frames == 1:
            moved = entering > stays
            after = tf.maximum(entering, stays)[None]
        else:
            moved = chain[-2] > stays  # into the last state of the phone
            last = tf.maximum(chain[-2], stays)
            after = tf.concat([entering[None], chain[:-2], last[None]], axis=0)
        after = tf.where(here[None, :, None], after + score[None], chain)
        # Only differences count: sums over an hour would leave them no digits.
        after -= tf.reduce_max(after, axis=[0, 2], keepdims=True)
        return after, came_from, moved

    chains, came_from, moved = tf.scan(step, (scores[1:], real[1:]), (chain, *nothing))
    chains = tf.concat([chain[None], chains], axis=0)
    return _trace_back(chains[-1], came_from, moved, real, min_frames)


def _trace_back(final, came_from, moved, real, min_frames: int) -> tf.Tensor:
    """Follows the pointers from the best last state to the first frame: int32 (batch, time)."""
    num_phones = tf.shape(final)[2]
    flat = tf.reshape(tf.transpose(final, [1, 0, 2]), [tf.shape(final)[1], -1])
    best = tf.argmax(flat, axis=1, output_type=tf.int32)
    depth, phone = best // num_phones, best % num_phones

    def step(after, now):
        depth, phone = after
        came_from, moved, here = now
        left = tf.gather(moved, phone, batch_dims=1)
        origin = tf.gather(came_from, phone, batch_dims=1)
        if min_frames == 1:
            new_depth, new_phone = depth, tf.where(left, origin, phone)
        else:
            last = depth == min_frames - 1
            entered = depth == 0
            inner = tf.where(last & ~left, depth, depth - 1)
            new_depth = tf.where(entered, min_frames - 1, inner)
            new_phone = tf.where(entered, origin, phone)
        return tf.where(here, new_depth, depth), tf.where(here, new_phone, phone)

    pointers = (came_from, moved, real[1:])
    _, earlier = tf.scan(step, pointers, (depth, phone), reverse=True)
    return tf.transpose(tf.concat([earlier, phone[None]], axis=0))


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
                found = self._path(depth[:1], phone[:1], place)
                self.pointers = self.pointers[place:]
                return found[:-1]
        return []

    def rest(self) -> list[int]:
        """The best path through all frames that are left; the end."""
        if not len(self.chain):
            return []
        depth, phone = np.divmod(self.chain.argmax(keepdims=True).ravel(), self.chain.shape[1])
        return self._path(depth, phone, len(self.pointers))

    def _path(self, depth: np.ndarray, phone: np.ndarray, place: int) -> list[int]:
        """Phones up to the frame that `place` pointers lead to."""
        found = [int(phone[0])]
        for earlier in range(place - 1, -1, -1):
            depth, phone = self._back(depth, phone, earlier)
            found.append(int(phone[0]))
        return found[::-1]

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
