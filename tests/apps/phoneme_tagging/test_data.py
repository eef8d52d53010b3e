"""From records to batches, and speech as training changes it: by seed, times that fit the sound."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from apps.phoneme_tagging import config, data
from apps.phoneme_tagging.config import AugmentConfig, ModelConfig
from apps.phoneme_tagging.corpora.phones import PHONES_61
from apps.phoneme_tagging.tagging import augmentation

IY, S = PHONES_61.index("iy"), PHONES_61.index("s")


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [  # middles of the frames: 80, 240, 400, 560, 720
        ([0, 400], [400, 700], [IY, IY, S, S, -1]),
        ([100, 500], [300, 900], [-1, IY, -1, S, S]),
    ],
)
def test_a_frame_has_the_phone_in_its_middle(start, end, expected):
    times = (tf.constant(start, tf.int64), tf.constant(end, tf.int64))
    labels = data.label_frames(tf.constant([IY, S]), *times, tf.constant(5))
    assert labels.numpy().tolist() == expected


@pytest.fixture(scope="module")
def batch(cache_dir):
    options = replace(config.TINY.data, cache_dir=cache_dir, max_utterances=32)
    train_data = data.make_training_data(options, config.TINY.model, batch_size=4)
    return next(iter(train_data.validation))


def test_batches_are_padded_and_masked(batch):
    assert batch["features"].shape == (4, batch["frame_mask"].shape[1], 39)
    padded = ~batch["frame_mask"].numpy()
    assert padded.any() and (batch["features"].numpy()[padded] == 0).all()


def test_padding_weighs_nothing(batch):
    taken, target, weight = data.as_training(batch, inputs=["features", "frame_mask"])
    assert set(taken) == {"features", "frame_mask"}
    assert (weight.numpy()[~batch["frame_mask"].numpy()] == 0).all()
    assert target.numpy().min() >= 0 and weight.numpy().sum() > 100


def test_an_epoch_has_the_promised_number_of_batches(cache_dir):
    options = replace(config.TINY.data, cache_dir=cache_dir, max_utterances=30)
    train_data = data.make_training_data(options, config.TINY.model, batch_size=7)
    seen = [
        name.decode()
        for batch in train_data.batches(seed=3).take(train_data.num_batches)
        for name in batch["utterance_id"].numpy()
    ]
    assert len(seen) == len(set(seen)) == 30


def test_normalisation_and_bigrams_are_those_of_the_training_part(cache_dir):
    options = replace(config.TINY.data, cache_dir=cache_dir, max_utterances=16)
    examples = data.make_examples(data.load_split(options, "train"), config.TINY.model)
    survey = data.take_survey(examples, phone_set=39)
    frames = np.concatenate([example["features"] for example in examples.as_numpy_iterator()])
    np.testing.assert_allclose(survey.mean, frames.mean(axis=0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(survey.variance, frames.var(axis=0), rtol=1e-3)
    assert survey.counts.bigrams.sum() > 100 and survey.counts.frames.sum() <= len(frames)


def test_classes_fold_and_unseen_phones_are_left_out():
    record = {
        "reference_id": tf.constant([IY, S, -1]),
        "phone": tf.constant(["iy", "q", "ix", "s"]),
    }
    examples = tf.data.Dataset.from_tensors(record)
    [example] = examples.map(data.make_targets(("s", "ih"), phone_set=39))
    assert example["phone_id"].numpy().tolist() == [-1, 0, -1]


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


def test_training_changes_speech_by_seed_and_epoch(cache_dir):
    options = replace(config.TINY.data, cache_dir=cache_dir, max_utterances=8)
    train_data = data.make_training_data(options, config.TINY.model, ALL, batch_size=4)

    def epoch(seed: int, number: int) -> dict[bytes, float]:
        batches = train_data.batches(seed=seed, first_epoch=number).take(train_data.num_batches)
        return {
            name: float(features[mask].sum())
            for batch in batches.as_numpy_iterator()
            for name, features, mask in zip(
                batch["utterance_id"], batch["features"], batch["frame_mask"], strict=True
            )
        }

    first = epoch(1, 0)
    assert len(first) == 8 and first == epoch(1, 0)
    for other in (epoch(1, 1), epoch(2, 0)):
        assert set(other) == set(first) and all(other[name] != first[name] for name in first)


def test_nothing_on_changes_nothing(record):
    encode = data.make_encoder(ModelConfig(), AugmentConfig())
    changed = encode(record, seed(1, 2))
    np.testing.assert_array_equal(encode(record)["features"], changed["features"])


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_a_tone_played_faster_is_higher_and_shorter(factor):
    played, stretch = augmentation.play(tf.constant(tone(1000)), tf.constant(factor))
    expected = tone(1000 / float(stretch), 2.0)[: len(played)]
    assert len(played) == round(SECOND * float(stretch))
    np.testing.assert_allclose(float(stretch), 1 / factor, rtol=0.01)
    # Not at the ends, where the spectrum of a cut tone rings.
    np.testing.assert_allclose(played[2000:-2000], expected[2000:-2000], atol=0.01)


def test_noise_keeps_its_bound():
    sound = tf.constant(tone(300))
    for number in range(20):
        seed = tf.constant([number, 0], tf.int64)
        noisy, _ = augmentation.change_sound(sound, seed, speed=0.0, noise=0.1)
        assert np.std(noisy - sound) < 0.11 * np.std(sound)


def test_phones_move_with_the_speed(record):
    sound = np.zeros(SECOND, np.int16)
    sound[4000:12_000] = 9000 * np.sign(tone(500, 0.5))
    encode = data.make_encoder(ModelConfig(), AugmentConfig(speed=0.3))
    example = encode({**record, "waveform": tf.constant(sound)}, seed(1, 2))
    energy = example["features"][:, 12].numpy()
    loud = energy > (energy.max() + energy.min()) / 2
    vowel = example["reference_id"].numpy() == example["reference_id"].numpy()[len(loud) // 2]
    assert len(loud) != SECOND // 160
    assert (loud != vowel).sum() <= 2  # a window reaches over the boundary
