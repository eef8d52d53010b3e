"""The scores of a run."""

import errno
import json
import os
import shutil
import sys
import tempfile

import numpy as np
import pytest

from apps.phoneme_tagging import evaluate
from apps.phoneme_tagging.tagging import baselines
from common.runs import cli


def test_the_epoch_that_is_kept_has_the_lowest_phone_error_rate(tiny_run):
    run = tiny_run("phoneme_tagging")
    rows = np.genfromtxt(run / "history.csv", delimiter=",", names=True)
    result = evaluate.evaluate(run, with_baselines=False)
    assert result.metrics["phone_error_rate"] == pytest.approx(1 - rows["val_phone_accuracy"].max())


def copy_run(run, folder):
    for name in ("config.json", "model.keras", "vocab_phones.txt", "phone_counts.json"):
        shutil.copy(run / name, folder)


def test_baselines_are_fitted_once(phone_run, tmp_path, monkeypatch):
    copy_run(phone_run, tmp_path)
    monkeypatch.setattr(baselines, "MAX_FRAMES", 500)
    first = evaluate.evaluate(tmp_path)
    assert set(first.baselines) == {"majority", "logistic_regression", "mlp_10_frames"}
    monkeypatch.setattr(baselines, "fit", lambda *_, **__: pytest.fail("fitted again"))
    assert evaluate.evaluate(tmp_path).baselines == first.baselines


def test_the_scores_of_a_run_that_cannot_be_written_are_printed_with_one_line_and_exit_code_2(
    phone_run, tmp_path, monkeypatch, capsys, caplog
):
    copy_run(phone_run, tmp_path)
    before = sorted(tmp_path.iterdir())

    def read_only(suffix, prefix, folder):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), f"{folder}/{prefix}0")

    monkeypatch.setattr(baselines, "MAX_FRAMES", 500)
    monkeypatch.setattr(tempfile, "mkdtemp", read_only)  # root may write where others may not
    monkeypatch.setattr(sys, "argv", ["evaluate", "--run-dir", str(tmp_path), "--json"])
    with pytest.raises(SystemExit) as stop:
        cli.run(evaluate.main, app="phoneme_tagging")
    scores = json.loads(capsys.readouterr().out)
    assert stop.value.code == 2
    assert {"majority", "logistic_regression", "mlp_10_frames"} == set(scores["baselines"])
    assert caplog.text.count("error: ") == caplog.text.count("Read-only file system") == 1
    assert sorted(tmp_path.iterdir()) == before
