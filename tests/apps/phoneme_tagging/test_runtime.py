"""Facts about the Python file of an export: it hears and decodes as the graph does."""

import numpy as np
import pytest
import tensorflow as tf

from apps.phoneme_tagging.tagging import viterbi
from common.inputs import audio, sound_files


@pytest.fixture
def runtime(standalone):
    return standalone("apps/phoneme_tagging/runtime.py")


@pytest.mark.parametrize(("kind", "num_mels"), [("mfcc", 26), ("log_mel", 40)])
def test_features_are_those_of_the_graph(runtime, kind, num_mels):
    sound = np.random.default_rng(0).normal(0, 0.1, 1999).astype(np.float32)
    expected, _ = audio.features(sound[None], tf.constant([1999]), kind=kind, num_mels=num_mels)
    features = runtime.features(sound, kind, num_mels)
    np.testing.assert_allclose(features, expected[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("min_frames", [1, 2, 3])
def test_paths_are_those_of_the_graph(runtime, min_frames):
    draw = np.random.default_rng(0)
    scores = draw.normal(size=(40, 5)).astype(np.float32)
    transitions = viterbi.transition_scores(draw.integers(0, 9, (5, 5)).astype(float))
    mask = np.ones((1, 40), bool)
    expected = viterbi.decode(
        tf.constant(scores[None]), tf.constant(mask), transitions, min_frames=min_frames
    )
    path = runtime.viterbi(scores, transitions, min_frames)
    np.testing.assert_array_equal(path, expected[0])


def test_a_recording_too_short_is_named(runtime):
    with pytest.raises(ValueError, match="at least 400 samples"):
        runtime.read_wav(sound_files.encode(np.zeros(399)))
