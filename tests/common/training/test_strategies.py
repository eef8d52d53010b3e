"""Facts about training on several workers: two processes on loopback beside one."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.runs.errors import UserError
from common.scaling import launcher
from common.training import strategies

WORKER = Path(__file__).with_name("worker.py")
# As the commands of the apps start: a third faster than `import tensorflow` alone.
START = """
import runpy, sys
from common.runs import cli
cli.start_tensorflow_quietly()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_two_workers_of_which_one_is_lost_and_two_devices_end_with_the_weights_of_one(
    tmp_path, monkeypatch
):
    spec = importlib.util.spec_from_file_location("worker", WORKER)
    assert spec is not None and spec.loader is not None
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    alone = worker.train(tmp_path / "alone", "none")

    monkeypatch.setenv("PYTHONPATH", str(WORKER.parents[3]))
    command = [sys.executable, "-c", START, str(WORKER), str(tmp_path)]
    assert launcher.launch(command, workers=2) == -9
    assert (tmp_path / "died").exists()
    assert launcher.launch(command, workers=2) == 0
    subprocess.run([*command, "mirrored"], check=True)  # two devices of one process
    ended = list(tmp_path.glob("weights-*.npz"))
    assert len(ended) == 3
    for path in ended:
        weights = np.load(path)
        for name, expected in alone.items():
            np.testing.assert_allclose(weights[name], expected, atol=1e-5)
    texts = [(tmp_path / n / "history.csv").read_text() for n in ("alone", "run", "mirrored")]
    first, *others = (np.genfromtxt(text.splitlines(), delimiter=",", names=True) for text in texts)
    for rows in others:
        for name in (
            "epoch",
            "loss",
            "accuracy",
            "val_accuracy",
            "val_largest_share",
            "clipped_share",
        ):
            np.testing.assert_allclose(rows[name], first[name], atol=1e-5)

    padding = {}  # of the epochs; where a worker was lost they are told again from the lost one on
    for name in ("alone", "run", "mirrored"):
        lines = (tmp_path / name / "log" / "events.jsonl").read_text().splitlines()
        told = [row for row in map(json.loads, lines) if row["event"] == "epoch"]
        padding[name] = [row["padding_ratio"] for row in told]
    assert padding["mirrored"] == padding["alone"] and len(set(padding["alone"])) == 1
    # Of the first worker, whose shares of 4, 4 and 3 examples are not those of the second.
    np.testing.assert_allclose(padding["run"], padding["alone"][0], atol=0.25)


def test_a_user_error_is_not_tried_again(tmp_path):
    count = f"open({str(tmp_path / 'count')!r}, 'a').write('x')"
    command = [sys.executable, "-c", f"{count}; raise SystemExit(2)"]
    assert launcher.launch(command, workers=1, restarts=3) == 2
    assert (tmp_path / "count").read_text() == "x"


def test_a_lost_worker_is_started_again_and_resumes_its_run(tmp_path):
    (tmp_path / "config.json").touch()
    script = (
        "import sys; open(sys.argv[2] + '/count', 'a').write('x')\n"
        "assert sys.argv[3:] == ['--resume']\n"
        "raise SystemExit(len(open(sys.argv[2] + '/count').read()) < 3)"
    )
    command = [sys.executable, "-c", script, "--run-dir", str(tmp_path)]
    assert launcher.launch(command, workers=1, restarts=2) == 0
    assert (tmp_path / "count").read_text() == "xxx"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "{",
        '{"cluster": {}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
    ],
)
def test_a_missing_or_broken_cluster_is_a_users_error(text, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match=r"TF_CONFIG"):
        strategies.make_strategy("multi_worker")


def test_one_device_needs_no_strategy(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    strategy = strategies.make_strategy("auto")
    assert strategy.num_replicas_in_sync == 1
    assert strategies.is_chief(strategy)
    assert float(strategies.sum_over_replicas(tf.constant(2.0))) == 2.0
