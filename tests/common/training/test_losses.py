"""Facts about losses over padded targets."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.training.losses import (
    LargestShare,
    StepsAccuracy,
    StepsCrossEntropy,
    WeightedCrossEntropy,
)

TARGETS = np.array([[2, 0, 0], [1, 1, 0]], "int32")
WEIGHTS = np.array([[1, 0.5, 0], [2, 0, 0]], "float32")
LOGITS = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")


def by_hand(targets, logits, weights) -> float:
    logits = logits.astype("float64")
    log_softmax = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    total = sum(
        -weights[place] * log_softmax[(*place, targets[place])]
        for place in np.ndindex(targets.shape)
    )
    return total / weights.sum()


def test_the_loss_is_the_weighted_mean_over_real_targets():
    loss = WeightedCrossEntropy()(TARGETS, LOGITS, sample_weight=WEIGHTS)
    assert float(loss) == pytest.approx(by_hand(TARGETS, LOGITS, WEIGHTS), rel=1e-6)


def test_without_weights_every_target_counts_alike():
    loss = WeightedCrossEntropy()(TARGETS, LOGITS)
    assert float(loss) == pytest.approx(by_hand(TARGETS, LOGITS, np.ones((2, 3))), rel=1e-6)


def test_more_padding_changes_nothing():
    longer = [
        np.pad(value, [(0, 0), (0, 4), (0, 0)][: value.ndim])
        for value in (TARGETS, LOGITS, WEIGHTS)
    ]
    loss = WeightedCrossEntropy()(longer[0], longer[1], sample_weight=longer[2])
    assert float(loss) == pytest.approx(by_hand(TARGETS, LOGITS, WEIGHTS), rel=1e-6)


def test_targets_of_weight_zero_have_no_gradient():
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        loss = WeightedCrossEntropy()(TARGETS, logits, sample_weight=WEIGHTS)
    moved = np.any(tape.gradient(loss, logits).numpy() != 0, axis=-1)
    np.testing.assert_array_equal(moved, WEIGHTS > 0)


def test_a_batch_of_padding_alone_has_loss_zero_and_no_gradient():
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        loss = WeightedCrossEntropy()(TARGETS, logits, sample_weight=np.zeros((2, 3), "float32"))
    assert float(loss) == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, logits), np.zeros_like(LOGITS))


def test_keras_default_reduction_would_count_padding():
    default = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss = default(TARGETS, LOGITS, sample_weight=WEIGHTS)
    assert float(loss) == pytest.approx(
        by_hand(TARGETS, LOGITS, WEIGHTS) * WEIGHTS.sum() / WEIGHTS.size, rel=1e-6
    )


def test_fit_reports_the_hand_mean_for_padded_targets():
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    model.compile(loss=WeightedCrossEntropy())
    loss = model.evaluate(LOGITS, TARGETS, sample_weight=WEIGHTS, batch_size=2, verbose=0)
    assert loss == pytest.approx(by_hand(TARGETS, LOGITS, WEIGHTS), rel=1e-6)


def test_every_step_counts_the_same_in_batches_of_other_lengths():
    generator, metric, right = np.random.default_rng(0), StepsAccuracy(), []
    for lengths in ([7, 2], [1, 3], [12, 5]):
        shape = (2, max(lengths))
        targets, logits = generator.integers(0, 4, shape), generator.normal(size=(*shape, 4))
        mask = np.arange(shape[1]) < np.array(lengths)[:, None]
        metric.update_state(targets, logits.astype("float32"), mask.astype("float32"))
        right += (logits.argmax(-1) == targets)[mask].tolist()
    assert float(metric.result()) == pytest.approx(np.mean(right), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_a_share_of_the_target_is_spread_over_all_classes(smoothing):
    target, logits = TARGETS.ravel(), LOGITS.reshape(-1, 4)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    wanted = np.eye(4)[target] * (1 - smoothing) + smoothing / 4
    loss = StepsCrossEntropy(smoothing).call(tf.constant(target), tf.constant(logits))
    np.testing.assert_allclose(loss, -(wanted * log_probs).sum(-1), rtol=1e-5)


def test_the_share_of_the_most_frequent_class_by_hand():
    metric = LargestShare(3)
    first = np.eye(3, dtype="float32")[[[0, 1], [1, 2]]]
    metric.update_state(None, first, sample_weight=np.array([[1.0, 1.0], [0.5, 0.0]]))
    assert float(metric.result()) == np.float32(2 / 3)  # what has no weight does not count
    metric.update_state(None, np.eye(3, dtype="float32")[[[0, 0]]])
    assert float(metric.result()) == np.float32(3 / 5)
    metric.reset_state()
    assert float(metric.result()) == 0.0
