"""The best path, beside a search through all of them."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from apps.phoneme_tagging.tagging import viterbi


def path_score(path, scores, transitions, min_frames):
    """The score of a path, or None where a phone but the last is too short."""
    runs = [len(list(group)) for _, group in itertools.groupby(path)]
    if any(run < min_frames for run in runs[:-1]):
        return None
    changes = sum(transitions[a, b] for a, b in itertools.pairwise(path) if a != b)
    return sum(scores[time, phone] for time, phone in enumerate(path)) + changes


@pytest.mark.parametrize("min_frames", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_the_path_is_the_best_of_all(min_frames, seed):
    draw = np.random.default_rng(seed)
    scores = draw.normal(size=(7, 3)).astype(np.float32)
    transitions = viterbi.transition_scores(draw.integers(0, 9, (3, 3)).astype(float))
    decoded = viterbi.decode(
        tf.constant(scores[None]), tf.ones([1, 7], tf.bool), transitions, min_frames=min_frames
    )
    of_all = {
        path: path_score(path, scores, transitions, min_frames)
        for path in itertools.product(range(3), repeat=7)
    }
    best = max((one for one in of_all if of_all[one] is not None), key=of_all.__getitem__)
    assert decoded[0].numpy().tolist() == list(best)


@pytest.mark.parametrize("min_frames", [1, 3])
def test_padding_changes_nothing(min_frames):
    """Less than a block of frames, whole blocks, and a single frame."""
    draw = np.random.default_rng(1)
    lengths = (2 * viterbi.BLOCK + 5, viterbi.BLOCK + 1, 1)
    scores = draw.normal(size=(3, lengths[0], 4)).astype(np.float32)
    transitions = viterbi.transition_scores(np.ones((4, 4)))
    mask = np.arange(lengths[0]) < np.array(lengths)[:, None]
    together = viterbi.decode(scores, mask, transitions, min_frames=min_frames).numpy()
    for row, length in enumerate(lengths):
        real = tf.ones([1, length], tf.bool)
        alone = viterbi.decode(
            scores[row : row + 1, :length], real, transitions, min_frames=min_frames
        )
        assert together[row, :length].tolist() == alone[0].numpy().tolist()
        assert length == 1 or len(set(together[row])) > 1


def test_frequent_bigrams_cost_less():
    bigrams = np.array([[0, 9, 1], [3, 0, 3], [0, 0, 0]], float)
    scores = viterbi.transition_scores(bigrams)
    assert scores[0, 1] > scores[0, 2]
    np.testing.assert_allclose(scores[0, 1], np.log(10 / 12), rtol=1e-5)
    assert (np.diag(scores) <= -1e8).all()
