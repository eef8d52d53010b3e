"""The ranking losses against NumPy, and what they must not see."""

import numpy as np
import pytest

from apps.answer_selection.losses import RankingLoss

LABELS = np.array([[1, 0, 0, -1], [0, 1, 1, 0]], "int32")
SCORES = np.array([[0.3, -0.2, 1.1, 9.0], [0.0, 2.0, -1.0, 0.5]], "float32")


def loss(name, labels=LABELS, scores=SCORES, weight=None, **options):
    return float(RankingLoss(name, **options)(labels, scores, sample_weight=weight))


def softplus(values):
    return np.log1p(np.exp(values))


def test_pointwise_is_the_cross_entropy_of_each_candidate():
    first = np.mean([softplus(-0.3), softplus(-0.2), softplus(1.1)])
    second = np.mean([softplus(0.0), softplus(-2.0), softplus(1.0), softplus(0.5)])
    assert loss("pointwise") == pytest.approx((first + second) / 2, rel=1e-5)


def test_pairwise_is_the_hinge_over_all_pairs():
    first = np.mean([max(0, 0.5 - 0.3 - 0.2), max(0, 0.5 - 0.3 + 1.1)])
    pairs = [(2.0, 0.0), (2.0, 0.5), (-1.0, 0.0), (-1.0, 0.5)]
    second = np.mean([max(0, 0.5 - right + wrong) for right, wrong in pairs])
    assert loss("pairwise", margin=0.5) == pytest.approx((first + second) / 2, rel=1e-5)


def test_listwise_is_the_cross_entropy_of_the_whole_list():
    first = -0.3 + np.log(np.exp([0.3, -0.2, 1.1]).sum())
    second = -(2.0 - 1.0) / 2 + np.log(np.exp([0.0, 2.0, -1.0, 0.5]).sum())
    assert loss("listwise") == pytest.approx((first + second) / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "options"), [("pointwise", {}), ("pairwise", {"margin": 0.5}), ("listwise", {})]
)
def test_the_scores_of_padding_do_not_count(name, options):
    other = np.where(LABELS < 0, -50.0, SCORES).astype("float32")
    assert loss(name, scores=other, **options) == pytest.approx(loss(name, **options), rel=1e-6)


@pytest.mark.parametrize("name", ["pointwise", "listwise"])
def test_a_question_of_weight_zero_does_not_count(name):
    alone = loss(name, LABELS[:1], SCORES[:1])
    assert loss(name, weight=np.array([1.0, 0.0], "float32")) == pytest.approx(alone, rel=1e-5)
