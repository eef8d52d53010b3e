"""The scores of a run."""

import numpy as np
import pytest

from apps.phoneme_tagging import evaluate
from apps.phoneme_tagging.tagging import baselines


def test_the_epoch_that_is_kept_has_the_lowest_phone_error_rate(tiny_run):
    run = tiny_run("phoneme_tagging")
    rows = np.genfromtxt(run / "history.csv", delimiter=",", names=True)
    result = evaluate.evaluate(run, with_baselines=False)
    assert result.metrics["phone_error_rate"] == pytest.approx(1 - rows["val_phone_accuracy"].max())


def test_baselines_are_fitted_once(phone_run, monkeypatch):
    first = evaluate.evaluate(phone_run)
    assert set(first.baselines) == {"majority", "logistic_regression", "mlp_10_frames"}
    monkeypatch.setattr(baselines, "fit", lambda *_, **__: pytest.fail("fitted again"))
    assert evaluate.evaluate(phone_run).baselines == first.baselines
