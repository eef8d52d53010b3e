"""What training hears: draws by seed alone, sounds and times that fit each other."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from apps.phoneme_tagging import augmentation, examples
from apps.phoneme_tagging.config import AugmentConfig, ModelConfig

SECOND = 16_000
ALL = AugmentConfig(speed=0.1, noise=0.1)


def seed(*numbers: int) -> tf.Tensor:
    return tf.constant(numbers, tf.int64)


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    times = np.arange(int(seconds * SECOND)) / SECOND
    return (0.3 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


@pytest.fixture(scope="module")
def record() -> dict[str, tf.Tensor]:
    draw = np.random.default_rng(0)
    return {
        "waveform": tf.constant(draw.integers(-9000, 9000, SECOND), tf.int16),
        "phone": tf.constant(["h#", "iy", "h#"]),
        "start": tf.constant([0, 4000, 12_000], tf.int64),
        "end": tf.constant([4000, 12_000, SECOND], tf.int64),
        "utterance_id": tf.constant("one"),
        "speaker": tf.constant("somebody"),
    }


@pytest.fixture(scope="module")
def changed(record):
    encode = examples.make_encoder(ModelConfig())
    return lambda *numbers: encode(record, seed(*numbers), ALL)


def test_the_same_seed_gives_the_same_example(changed):
    one, same = changed(3, 4), changed(3, 4)
    for name in one:
        np.testing.assert_array_equal(one[name], same[name])


@pytest.mark.parametrize("other", [(3, 5), (2, 4)], ids=["other place", "other epoch"])
def test_another_seed_gives_another(changed, other):
    one, another = changed(3, 4)["features"].numpy(), changed(*other)["features"].numpy()
    assert one.shape != another.shape or np.abs(one - another).max() > 0.1


@pytest.mark.parametrize("option", [field.name for field in dataclasses.fields(AugmentConfig)])
def test_every_option_changes_something(record, option):
    encode = examples.make_encoder(ModelConfig())
    plain = encode(record)["features"].numpy()
    found = encode(record, seed(1, 2), AugmentConfig(**{option: 0.2}))["features"].numpy()
    assert plain.shape != found.shape or np.abs(plain - found).max() > 0.1


def test_nothing_on_changes_nothing(record):
    encode = examples.make_encoder(ModelConfig())
    np.testing.assert_array_equal(
        encode(record)["features"], encode(record, seed(1, 2), AugmentConfig())["features"]
    )


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_a_tone_played_faster_is_higher_and_shorter(factor):
    played, stretch = augmentation.play(tf.constant(tone(1000)), tf.constant(factor))
    wanted = tone(1000 / float(stretch), 2.0)[: len(played)]
    assert len(played) == round(SECOND * float(stretch))
    np.testing.assert_allclose(float(stretch), 1 / factor, rtol=0.01)
    # Not at the ends, where the spectrum of a cut tone rings.
    np.testing.assert_allclose(played[2000:-2000], wanted[2000:-2000], atol=0.01)


def test_phones_move_with_the_speed(record):
    sound = np.zeros(SECOND, np.int16)
    sound[4000:12_000] = 9000 * np.sign(tone(500, 0.5))
    encode = examples.make_encoder(ModelConfig())
    given = {**record, "waveform": tf.constant(sound)}
    found = encode(given, seed(1, 2), AugmentConfig(speed=0.3))
    energy = found["features"][:, 12].numpy()
    loud = energy > (energy.max() + energy.min()) / 2
    vowel = found["reference_id"].numpy() == found["reference_id"].numpy()[len(loud) // 2]
    assert len(loud) != SECOND // 160
    assert (loud != vowel).sum() <= 2  # a window reaches over the boundary


def test_noise_keeps_its_bound():
    sound = tf.constant(tone(300))
    options = AugmentConfig(noise=0.1)
    for number in range(20):
        noisy, _ = augmentation.change_sound(sound, seed(number, 0), options)
        assert np.std(noisy - sound) < 0.11 * np.std(sound)
