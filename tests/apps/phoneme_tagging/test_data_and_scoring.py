"""From records to batches, folding, and the scores on strings counted by hand."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from apps.phoneme_tagging import (
    baselines,
    config,
    confusion,
    data,
    evaluate,
    examples,
    scoring,
)
from apps.phoneme_tagging.phones import CLASSES, PHONES_61, fold
from apps.phoneme_tagging.scoring import Tagged
from common.inputs import pipeline

IY, S = PHONES_61.index("iy"), PHONES_61.index("s")


def test_a_frame_has_the_phone_in_its_middle():
    found = examples.label_frames(
        tf.constant([IY, S]),
        tf.constant([0, 400], tf.int64),
        tf.constant([400, 810], tf.int64),
        tf.constant(8),
    )
    # Middles: 80, 240, 400 (the first sample of s), 560, 720, 880 (after the last phone) ...
    assert found.numpy().tolist() == [IY, IY, S, S, S, -1, -1, -1]


def test_gaps_have_no_phone():
    found = examples.label_frames(
        tf.constant([IY, S]),
        tf.constant([100, 500], tf.int64),
        tf.constant([300, 900], tf.int64),
        tf.constant(4),
    )
    assert found.numpy().tolist() == [-1, IY, -1, S]


@pytest.fixture(scope="module")
def batch(cache_dir):
    options = replace(config.TINY.data, cache_dir=cache_dir, max_utterances=32)
    shown = data.make_training_data(options, config.TINY.model, batch_size=4)
    return next(iter(shown.validation))


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
    shown = data.make_training_data(options, config.TINY.model, batch_size=7)
    seen = [
        one.decode()
        for batch in shown.batches(seed=3).take(shown.num_batches)
        for one in batch["utterance_id"].numpy()
    ]
    assert len(seen) == len(set(seen)) == 30


def test_normalisation_and_bigrams_are_those_of_the_training_part(cache_dir):
    options = replace(config.TINY.data, cache_dir=cache_dir, max_utterances=16)
    examples = data.make_examples(data.load_split(options, "train"), config.TINY.model)
    found = data.survey(examples, phone_set=39)
    frames = np.concatenate([one["features"] for one in examples.as_numpy_iterator()])
    np.testing.assert_allclose(found.mean, frames.mean(axis=0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.variance, frames.var(axis=0), rtol=1e-3)
    assert found.bigrams.sum() > 100 and found.frame_counts.sum() <= len(frames)


def test_classes_fold_and_unseen_phones_are_left_out():
    one = {"reference_id": tf.constant([IY, S, -1]), "phone": tf.constant(["iy", "q", "ix", "s"])}
    examples = tf.data.Dataset.from_tensors(one)
    from common.inputs.text import Vocabulary

    [found] = data.with_targets(examples, Vocabulary(("s", "ih")), phone_set=39)
    assert found["phone_id"].numpy().tolist() == [-1, 0, -1]


def test_the_tables_leave_61_48_and_39_phones():
    assert [len({fold(one, size) for one in PHONES_61} - {""}) for size in (61, 48, 39)] == [
        61,
        48,
        39,
    ]


@pytest.mark.parametrize(
    ("phone", "of_48", "of_39"),
    [
        ("ux", "uw", "uw"),
        ("axr", "er", "er"),
        ("ix", "ix", "ih"),
        ("ao", "ao", "aa"),
        ("zh", "zh", "sh"),
        ("tcl", "cl", "sil"),
        ("gcl", "vcl", "sil"),
        ("epi", "epi", "sil"),
        ("h#", "sil", "sil"),
        ("q", "", ""),
        ("nx", "n", "n"),
    ],
)
def test_phones_fold_as_lee_and_hon_write(phone, of_48, of_39):
    assert (fold(phone, 48), fold(phone, 39), fold(of_48, 39)) == (of_48, of_39, of_39)


ROW = Tagged(
    frames=["h#", "h#", "iy", "iy", "s", "s", "", "q"],
    framewise=["h#", "iy", "iy", "ix", "s", "z", "s", "s"],
    decoded=["h#", "h#", "iy", "iy", "z", "z", "z", "z"],
    phones=["h#", "iy", "s", "q"],
    starts=[0.0, 0.02, 0.045, 0.075],
)


def test_frames_are_counted_where_there_is_a_label():
    assert scoring.frame_accuracy([ROW], 61) == 3 / 7
    assert scoring.frame_accuracy([ROW], 39) == 3 / 6
    assert scoring.frame_accuracy([ROW], 39, silence=False) == 2 / 4


def test_every_phone_is_of_one_class():
    assert sorted(confusion.PHONES) == sorted({fold(one, 39) for one in PHONES_61} - {""})


def test_confusions_are_counted_by_hand():
    counts = confusion.matrix([ROW, ROW])
    place = confusion.PHONES.index
    assert counts.sum() == 2 * 6  # without the frame that has no label, and the glottal stop
    assert counts[place("sil"), place("iy")] == counts[place("iy"), place("ih")] == 2
    assert counts[place("s"), place("z")] == counts[place("s"), place("s")] == 2
    classes = dict(zip(CLASSES, confusion.by_class(counts).tolist(), strict=True))
    assert classes["vowel"] == [4, 0, 0, 0, 0, 0, 0]
    assert classes["silence"] == [2, 0, 0, 0, 0, 0, 2]
    assert classes["fricative"] == [0, 0, 0, 4, 0, 0, 0]
    text = confusion.as_text([ROW])
    assert "iy for sil   16.67" in text


def test_speakers_are_scored_apart():
    other = ROW._replace(speaker="other", framewise=ROW.frames, decoded=ROW.frames)
    found = scoring.by_speaker([ROW, other])
    assert (found[""]["frame_accuracy_39"], found["other"]["frame_accuracy_39"]) == (0.5, 1.0)


def test_the_phone_error_rate_counts_edits():
    assert scoring.error_rate([ROW]) == 1 / 3  # sil iy z for sil iy s
    assert scoring.error_rate([ROW], silence=False) == 1 / 2
    assert scoring.error_rate([ROW], merged_frames=True) == 3 / 3  # sil iy ih s z s


def test_boundaries_match_within_twenty_milliseconds_once():
    found = scoring.details([ROW])["boundaries within 20 ms"]
    assert found["precision"] == 1.0 and found["recall"] == 2 / 3
    assert found["mean error of these, ms"] == pytest.approx(2.5)


def test_a_model_of_39_phones_has_no_accuracy_on_61():
    assert set(scoring.score([ROW], phone_set=39)) == {"frame_accuracy_39", "phone_error_rate"}


def test_features_do_not_depend_on_the_batch(cache_dir):
    options = replace(config.TINY.data, cache_dir=cache_dir, max_utterances=16)
    examples = data.make_examples(data.load_split(options, "train"), config.TINY.model)
    [batch] = pipeline.evaluation_batches(examples.take(3), batch_size=3)
    for row, one in enumerate(examples.take(3)):
        length = len(one["features"])
        np.testing.assert_array_equal(batch["features"][row, :length], one["features"])


def test_windows_hold_the_neighbours():
    features = np.arange(6.0).reshape(6, 1)
    found = baselines.windows(features, 4)[:, :, 0]
    assert found[3].tolist() == [2, 3, 4, 5] and found[0].tolist() == [0, 0, 1, 2]


def test_training_changes_speech_by_seed_and_epoch(cache_dir):
    options = config.DataConfig(cache_dir=cache_dir, max_utterances=32)
    louder = config.AugmentConfig(noise=0.1, speed=0.1)
    shown = data.make_training_data(options, config.TINY.model, louder, batch_size=16)

    def epoch(seed: int, number: int) -> dict[bytes, bytes]:
        batches = shown.batches(seed=seed, first_epoch=number).take(shown.num_batches)
        return {
            name: features.tobytes()
            for batch in batches.as_numpy_iterator()
            for name, features in zip(batch["utterance_id"], batch["features"][:, 5], strict=True)
        }

    first = epoch(1, 0)
    assert len(first) == 32 and first == epoch(1, 0)
    for other in (epoch(1, 1), epoch(2, 0)):
        assert set(other) == set(first) and all(other[name] != first[name] for name in first)


def test_the_epoch_that_is_kept_has_the_lowest_phone_error_rate(tiny_run):
    run = tiny_run("phoneme_tagging")
    rows = np.genfromtxt(run / "history.csv", delimiter=",", names=True)
    found = evaluate.evaluate(run, with_rivals=False)
    assert found.metrics["phone_error_rate"] == pytest.approx(1 - rows["val_phone_accuracy"].max())
