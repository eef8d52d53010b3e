"""Folding, the scores on strings counted by hand, and the baselines."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from apps.phoneme_tagging.corpora.phones import PHONES_61, fold
from apps.phoneme_tagging.tagging import baselines, scoring
from apps.phoneme_tagging.tagging.scoring import Tagged


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
    assert sorted(scoring.PHONES_39) == sorted({fold(one, 39) for one in PHONES_61} - {""})


def test_confusions_are_counted_by_hand():
    counts = scoring.confusions([ROW, ROW])
    place = scoring.PHONES_39.index
    assert counts.sum() == 2 * 6  # without the frame that has no label, and the glottal stop
    assert counts[place("sil"), place("iy")] == counts[place("iy"), place("ih")] == 2
    assert counts[place("s"), place("z")] == counts[place("s"), place("s")] == 2
    text = scoring.confusions_as_text([ROW])
    assert "iy for sil   16.67" in text and "0.00" not in text


def test_speakers_are_scored_apart():
    other = ROW._replace(speaker="other", framewise=ROW.frames, decoded=ROW.frames)
    scores = scoring.by_speaker([ROW, other])
    assert (scores[""]["frame_accuracy_39"], scores["other"]["frame_accuracy_39"]) == (0.5, 1.0)


def test_the_phone_error_rate_counts_edits():
    assert scoring.error_rate([ROW]) == 1 / 3  # sil iy z for sil iy s
    assert scoring.error_rate([ROW], silence=False) == 1 / 2
    assert scoring.error_rate([ROW], merged_frames=True) == 3 / 3  # sil iy ih s z s


def test_boundaries_match_within_twenty_milliseconds_once():
    boundaries = scoring.details([ROW])["boundaries within 20 ms"]
    assert boundaries["precision"] == 1.0 and boundaries["recall"] == 2 / 3
    assert boundaries["mean error of these, ms"] == pytest.approx(2.5)


def test_a_model_of_39_phones_has_no_accuracy_on_61():
    assert set(scoring.score([ROW], phone_set=39)) == {"frame_accuracy_39", "phone_error_rate"}


def test_windows_hold_the_neighbours():
    features = np.arange(6.0).reshape(6, 1)
    windows = baselines.windows(features)[:, :, 0]
    assert windows.shape == (6, 10)
    assert windows[5].tolist() == [1, 2, 3, 4, 5, 5, 5, 5, 5, 5]
    assert windows[0].tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("num_classes", [2, 3])
def test_baselines_that_are_kept_say_what_the_fitted_ones_say(num_classes):
    """Of a phone that training lacks, 1, next to nothing; padding on the right changes nothing."""
    draw = np.random.default_rng(0)
    phones = np.array([0, 2, 3])[draw.integers(0, num_classes, 400)]
    features = (3 * draw.normal(size=(400, 4)) + phones[:, None] + 7).astype(np.float32)
    model = baselines.fit([(features, phones)], num_phones=4, num_frames=400)
    mask = np.arange(450)[None] < [[400], [30]]
    padded = np.zeros((2, 450, 4), np.float32)
    padded[0, :400], padded[1, :30] = features, features[:30]
    logits = baselines.logits(model, padded, mask)
    assert set(logits) == {"majority", "logistic_regression", "mlp_10_frames"}
    assert all(
        values.shape == (2, 450, 4) and not values[~mask].any() for values in logits.values()
    )

    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200, tol=1e-3))
    fitted.fit(features, phones)
    probabilities = np.exp(logits["logistic_regression"][0, :400])
    np.testing.assert_allclose(
        probabilities[:, fitted.classes_], fitted.predict_proba(features), atol=1e-4
    )
    assert probabilities[:, 1].max() < 1e-6
    commonest = np.bincount(phones).argmax()
    assert (logits["majority"][mask].argmax(axis=-1) == commonest).all()
    perceptron = logits["mlp_10_frames"]
    np.testing.assert_allclose(perceptron[1, :20], perceptron[0, :20], rtol=1e-4)
