"""Features beside librosa's, and what padding may not change."""

import functools

import numba
import numpy as np
import pytest
import tensorflow as tf

from common.inputs import audio


def sound(num_samples: int, seed: int = 0) -> np.ndarray:
    """Noise under a falling tone, so that filters differ."""
    time = np.arange(num_samples) / audio.SAMPLE_RATE
    tone = np.sin(2 * np.pi * (3000 - 800 * time) * time)
    noise = np.random.default_rng(seed).normal(size=num_samples)
    return (0.3 * tone + 0.05 * noise).astype(np.float32)


def features(waveform: np.ndarray, **options):
    given = {"kind": "mfcc", "num_mels": 26} | options
    values, mask = audio.features(
        tf.constant(waveform[None]), tf.constant([len(waveform)]), **given
    )
    return values[0].numpy(), mask[0].numpy()


@functools.cache
def librosa_feature():
    """`librosa.feature`, whose modules compile a dozen functions for half a minute when imported.

    Nothing here needs their speed, nor most of the functions.
    """

    def as_it_is(*given, **options):
        return given[0] if given and callable(given[0]) else lambda function: function

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba, "vectorize", as_it_is)
        patch.setattr(numba, "guvectorize", as_it_is)
        from librosa.feature import delta, melspectrogram, mfcc  # noqa: F401  (loaded by name)
    import librosa

    return librosa.feature


def log_mel_of_librosa(waveform: np.ndarray, num_mels: int) -> np.ndarray:
    emphasised = waveform - 0.97 * np.concatenate([[0], waveform[:-1]]).astype(np.float32)
    # librosa centres the 400-sample window in its 512-sample frame: 56 more on either side.
    padded = np.pad(emphasised, 120 + 56)
    power = librosa_feature().melspectrogram(
        y=padded,
        sr=16_000,
        n_fft=512,
        win_length=400,
        hop_length=160,
        window="hamming",
        center=False,
        n_mels=num_mels,
        htk=True,
        norm=None,
    )
    return np.log(np.maximum(power, 1e-7)).T


@pytest.mark.parametrize("num_mels", [26, 40])
def test_log_mel_energies_are_those_of_librosa(num_mels):
    waveform = sound(8000)
    values, _ = features(waveform, kind="log_mel", num_mels=num_mels)
    expected = log_mel_of_librosa(waveform, num_mels)
    np.testing.assert_allclose(values[:, :num_mels], expected, atol=1e-3)


def test_cepstra_are_those_of_librosa():
    waveform = sound(8000)
    log_mel = log_mel_of_librosa(waveform, 26)
    expected = librosa_feature().mfcc(S=log_mel.T, n_mfcc=13, norm="ortho").T[:, 1:]
    np.testing.assert_allclose(features(waveform)[0][:, :12], expected, atol=1e-3)


def test_derivatives_are_those_of_librosa():
    values, _ = features(sound(8000))
    static, first, second = np.split(values, 3, axis=1)
    of_librosa = librosa_feature().delta(static.T, width=5, mode="nearest").T
    np.testing.assert_allclose(first, of_librosa, atol=1e-3)
    twice = librosa_feature().delta(of_librosa.T, width=5, mode="nearest").T
    np.testing.assert_allclose(second, twice, atol=1e-3)


def test_every_ten_milliseconds_are_a_frame():
    for num_samples, frames in ((400, 2), (1599, 9), (1600, 10)):
        values, mask = features(sound(num_samples))
        assert values.shape == (frames, audio.feature_dim("mfcc", 26)) and mask.all()


def test_what_lies_beyond_the_end_changes_nothing():
    alone, _ = features(sound(3000))
    batch = np.full((2, 8000), np.nan, np.float32)  # not even NaN
    batch[0], batch[1, :3000] = sound(8000), sound(3000)
    values, mask = audio.features(
        tf.constant(batch), tf.constant([8000, 3000]), kind="mfcc", num_mels=26
    )
    assert mask.numpy().sum(axis=1).tolist() == [50, 18]
    np.testing.assert_allclose(values[1, :18], alone, atol=1e-4)
    assert (values[1, 18:].numpy() == 0).all()


def test_silence_is_finite():
    assert np.isfinite(features(np.zeros(1600, np.float32))[0]).all()
