"""Facts about the commands of benchmarks/."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import commands

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(
    path.stem for path in (ROOT / "benchmarks").glob("*.py") if "tyro.cli(" in path.read_text()
)
HELP = """
import runpy, sys
for command in sys.argv[1:]:
    sys.argv = [command, "--help"]
    try:
        runpy.run_module(f"benchmarks.{command}", run_name="__main__")
    except SystemExit as stop:
        assert not stop.code, command
    heavy = {"tensorflow", "keras", "matplotlib", "sklearn"} & set(sys.modules)
    assert not heavy, f"{command} imports {heavy}"
"""


def test_a_folder_of_runs_is_removed_and_one_with_anything_else_stays(tmp_path):
    for name in ("1/log/train.log", "1/config.json", "2/log/train.log"):
        (tmp_path / "runs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "runs" / name).touch()
    (tmp_path / "runs" / "thesis.txt").touch()
    with pytest.raises(SystemExit, match=r"expected runs alone .*thesis\.txt"):
        commands.remove_runs(tmp_path / "runs")
    assert len(list(tmp_path.rglob("*.*"))) == 4
    (tmp_path / "runs" / "thesis.txt").unlink()
    for _ in range(2):
        commands.remove_runs(tmp_path / "runs")
        assert list(tmp_path.iterdir()) == []


def test_the_help_of_every_command_comes_without_tensorflow():
    completed = subprocess.run(
        [sys.executable, "-W", "ignore::RuntimeWarning", "-c", HELP, *COMMANDS],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert completed.returncode == 0, completed.stderr[-2000:]
    assert completed.stdout.count("--help") == len(COMMANDS) > 15
    assert completed.stderr == ""
