"""Runs an app's commands as a user would, and measures what they take."""

import datetime
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from common.runs import files

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
APPS = sorted(path.name for path in (ROOT / "apps").iterdir() if (path / "config.py").exists())


class Done(NamedTuple):
    """One command that ended well.

    Attributes:
        output: what it printed on standard output.
        seconds: wall time, with the start of Python and TensorFlow.
        peak_gib: the largest memory it held at a time.
    """

    output: str
    seconds: float
    peak_gib: float


def remove_runs(folder: Path) -> None:
    """Removes a folder of runs, for new ones in their place.

    Raises:
        SystemExit: it holds a file that belongs to no run, which has a folder log/.
    """
    for file in folder.rglob("*"):
        inside = [parent for parent in file.parents if parent.is_relative_to(folder)]
        if not (file.is_dir() or any((parent / "log").is_dir() for parent in inside)):
            sys.exit(f"error: expected runs alone in {folder}, got {file}: name another folder")
    shutil.rmtree(folder, ignore_errors=True)


def run(app: str, command: str, *arguments: object, named: bool = False) -> Done:
    """Runs `python -m apps.<app>.<command>`; its messages go on to standard error.

    Args:
        app: folder under apps/.
        command: its module.
        arguments: what the command is given, as strings.
        named: each line of its messages begins with the app, for apps that run beside each other.

    Raises:
        SystemExit: the command failed; with its own exit code.
    """
    line = [sys.executable, "-m", f"apps.{app}.{command}", *map(str, arguments)]
    begun = time.monotonic()
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        line, cwd=ROOT, stdout=pipe, stderr=pipe if named else None, text=True
    )
    if named:
        threading.Thread(target=_name_lines, args=(app, process.stderr)).start()
    assert process.stdout is not None
    output = process.stdout.read()
    # wait4, not wait: it gives the memory of this one child.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(process.returncode)
    kib = usage.ru_maxrss if sys.platform != "darwin" else usage.ru_maxrss / 1024
    return Done(output, time.monotonic() - begun, kib / 2**20)


def _name_lines(app: str, messages: IO[str]) -> None:
    for message in messages:
        print(f"{app} | {message}", end="", file=sys.stderr, flush=True)


def evaluate(app: str, run_dir: Path, split: str, *more: str, named: bool = False) -> dict:
    """The object that `evaluate --json` prints with `more` options; `named` as for `run`."""
    options = ("--run-dir", run_dir, "--split", split, "--json", *more)
    return json.loads(run(app, "evaluate", *options, named=named).output)


def summary(metrics: list[dict[str, float]]) -> dict[str, dict]:
    """`spread` of each metric over several runs."""
    return {name: spread([one[name] for one in metrics]) for name in metrics[0]}


def spread(values: list[float]) -> dict:
    """Mean and sample standard deviation, with the single values."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {
        "mean": round(float(np.mean(values)), 5),
        "sd": round(deviation, 5),
        "values": [round(value, 5) for value in values],
    }


def origin(run_dir: Path) -> dict[str, str]:
    """When and where a run was made, for a result file."""
    environment = files.read_json(run_dir / "environment.json")
    return {
        "date": datetime.date.today().isoformat(),
        "git_commit": environment["git_commit"],
        "machine": f"{environment['cpu_count']} CPU cores, {len(environment['gpus'])} GPUs",
    }
