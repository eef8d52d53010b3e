"""The head without times, beside sums over all paths."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from apps.phoneme_tagging import ctc
from apps.phoneme_tagging.config import ModelConfig
from apps.phoneme_tagging.layers import Normalization
from apps.phoneme_tagging.model import build_model

FRAMES, SYMBOLS = 5, 4  # blank and three phones


def merged(path) -> tuple[int, ...]:
    return tuple(symbol - 1 for symbol, _ in itertools.groupby(path) if symbol)


def probabilities(logits: np.ndarray) -> dict[tuple[int, ...], float]:
    """Of every string, summed over all paths of symbols that give it."""
    softmax = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        chance = float(np.prod([softmax[time, symbol] for time, symbol in enumerate(path)]))
        found[merged(path)] = found.get(merged(path), 0.0) + chance
    return found


def draw(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(FRAMES, SYMBOLS)).astype(np.float32)


def string(found: tf.Tensor) -> tuple[int, ...]:
    return tuple(int(one) for one in found[0] if one >= 0)


WHOLE = tf.ones([1, FRAMES], tf.bool)


@pytest.mark.parametrize("seed", range(8))
def test_a_wide_beam_finds_the_most_probable_string(seed):
    of_all = probabilities(draw(seed))
    found = ctc.beam_search(tf.constant(draw(seed)[None]), WHOLE, width=400)
    assert string(found) == max(of_all, key=of_all.__getitem__)


@pytest.mark.parametrize("seed", range(8))
def test_the_best_path_is_merged(seed):
    found = ctc.best_path(tf.constant(draw(seed)[None]), WHOLE)
    assert string(found) == merged(draw(seed).argmax(axis=1))


def test_the_beam_finds_more_than_the_best_path():
    frame = np.log([0.4, 0.35, 0.25])  # blank first; the string of one phone has more paths
    logits = tf.constant(np.tile(frame, (1, 2, 1)), tf.float32)
    mask = tf.ones([1, 2], tf.bool)
    assert string(ctc.best_path(logits, mask)) == ()
    assert string(ctc.beam_search(logits, mask, width=9)) == (0,)


def test_padded_frames_say_nothing():
    logits = np.stack([draw(1), draw(2)])
    mask = tf.constant([[True] * FRAMES, [True] * 3 + [False] * 2])
    for decode in (ctc.best_path, lambda *given: ctc.beam_search(*given, width=50)):
        both = decode(tf.constant(logits), mask)
        alone = decode(tf.constant(logits[1:, :3]), tf.ones([1, 3], tf.bool))
        assert string(both[1:]) == string(alone)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    unit = Normalization(np.zeros(39, np.float32), np.ones(39, np.float32))
    return build_model(ModelConfig(units=4, ctc_weight=0.5), num_phones=3, normalization=unit)


def test_the_loss_is_that_of_all_paths_over_real_frames(network):
    features = np.random.default_rng(3).normal(size=(1, FRAMES + 4, 39)).astype(np.float32)
    mask = np.arange(FRAMES + 4)[None] < FRAMES
    logits = network({"features": features, "frame_mask": mask}, training=False)["ctc"]
    loss = keras.losses.CTC()(np.array([[2, 1, 0]]), logits)
    wanted = -np.log(probabilities(logits[0, :FRAMES].numpy())[(1, 0)])
    np.testing.assert_allclose(float(loss), wanted, rtol=1e-4)
