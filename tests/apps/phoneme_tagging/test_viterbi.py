"""The best path, beside a search through all of them; in one go, in pieces, and in NumPy."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from apps.phoneme_tagging.tagging import viterbi
from common.inputs import audio, sound_files


def draws(seed: int, *, frames: int, phones: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    scores = (2 * draw.normal(size=(frames, phones))).astype(np.float32)
    bigrams = draw.integers(0, 9, (phones, phones)).astype(float)
    return scores, viterbi.transition_scores(bigrams)


def decode(scores: np.ndarray, transitions: np.ndarray) -> list[int]:
    real = tf.ones([1, len(scores)], tf.bool)
    in_graph = tf.function(viterbi.decode, autograph=False)
    return in_graph(tf.constant(scores[None]), real, transitions)[0].numpy().tolist()


def path_score(path, scores, transitions) -> float:
    """The score of a path; none has one where a phone but the last has a single frame."""
    lengths = [len(list(group)) for _, group in itertools.groupby(path)]
    if any(length < 2 for length in lengths[:-1]):
        return -np.inf
    changes = sum(transitions[a, b] for a, b in itertools.pairwise(path) if a != b)
    return sum(scores[time, phone] for time, phone in enumerate(path)) + changes


@pytest.mark.parametrize("seed", range(5))
def test_the_path_is_the_best_of_all(seed):
    scores, transitions = draws(seed, frames=7, phones=3)
    paths = itertools.product(range(3), repeat=7)
    best = max(paths, key=lambda path: path_score(path, scores, transitions))
    assert decode(scores, transitions) == list(best)


def test_padding_changes_nothing():
    """Less than a block of frames, whole blocks, and a single frame."""
    lengths = (2 * viterbi.BLOCK + 5, viterbi.BLOCK + 1, 1)
    rows, transitions = zip(
        *(draws(seed, frames=lengths[0], phones=4) for seed in range(3)), strict=True
    )
    mask = np.arange(lengths[0]) < np.array(lengths)[:, None]
    together = viterbi.decode(np.stack(rows), mask, transitions[0]).numpy()
    for scores, row, length in zip(rows, together, lengths, strict=True):
        assert row[:length].tolist() == decode(scores[:length], transitions[0])
        assert length == 1 or len(set(row[:length])) > 1


def test_sums_over_an_hour_keep_their_digits():
    # Far below zero a float32 has no digits for differences of 0.01.
    scores = np.full((4000, 2), -5000.0, np.float32)
    pairs = np.arange(4000) // 2 % 2
    scores[np.arange(4000), pairs] += 0.01
    assert decode(scores, np.float32(-1e9) * np.eye(2, dtype=np.float32)) == pairs.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_decoding_while_frames_come_is_decoding(seed):
    scores, transitions = draws(seed, frames=400, phones=5)
    online, path, open_frames = viterbi.Online(transitions), [], []
    cuts = np.sort(np.random.default_rng(seed).integers(0, 400, 60))
    for chunk in np.split(scores, cuts):
        online.add(chunk)
        path += online.certain()
        open_frames.append(len(online.pointers))
    assert path + online.rest() == decode(scores, transitions)
    assert max(open_frames) < 100


def test_frequent_bigrams_cost_less():
    bigrams = np.array([[0, 9, 1], [3, 0, 3], [0, 0, 0]], float)
    scores = viterbi.transition_scores(bigrams)
    assert scores[0, 1] > scores[0, 2]
    np.testing.assert_allclose(scores[0, 1], np.log(10 / 12), rtol=1e-5)
    assert (np.diag(scores) <= -1e8).all()


@pytest.fixture
def runtime(standalone):
    """The Python file of an export to another runtime."""
    standalone("common/inputs/wav.py")  # it stands beside runtime.py in an export
    return standalone("apps/phoneme_tagging/runtime.py")


def test_an_export_decodes_as_the_graph_does(runtime):
    scores, transitions = draws(0, frames=40, phones=5)
    assert runtime.viterbi(scores, transitions).tolist() == decode(scores, transitions)


@pytest.mark.parametrize(("kind", "num_mels"), [("mfcc", 26), ("log_mel", 40)])
def test_features_of_an_export_are_those_of_the_graph(runtime, kind, num_mels):
    sound = np.random.default_rng(0).normal(0, 0.1, 1999).astype(np.float32)
    expected, _ = audio.features(sound[None], tf.constant([1999]), kind=kind, num_mels=num_mels)
    features = runtime.features(sound, kind, num_mels)
    np.testing.assert_allclose(features, expected[0], rtol=1e-4, atol=1e-4)


def test_a_recording_too_short_for_an_export_is_named(runtime):
    with pytest.raises(ValueError, match="at least 400 samples"):
        runtime.read_wav(sound_files.encode(np.zeros(399)))
