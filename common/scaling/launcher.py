"""Starts the workers of a training on this machine, and starts them again when a worker is lost.

    python -m common.scaling.launcher -- python -m apps.visual_qa.train --run-dir runs/vqa

Each worker runs the command with TF_CONFIG set for it, on ports of 127.0.0.1. When a worker ends
with an error, the others cannot go on; they are stopped, and with --restarts left all begin again
from the last checkpoint, by `--resume` where a run is there. For several machines see
docs/guides/scaling.md.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from common.runs.errors import as_line


def launch(command: Sequence[str], *, workers: int, restarts: int = 0) -> int:
    """Runs `workers` processes of `command` to their end; the exit code, 0 when all are done.

    All are started again, at most `restarts` times, when one is lost. An error of the user (exit
    code 2) would come again and ends it.
    """
    code, lost = _run(_resumed(command), workers)
    while code not in (0, 2) and restarts:
        print(f"worker {lost} was lost (exit code {code}): starting again", file=sys.stderr)
        restarts -= 1
        code, lost = _run(_resumed(command), workers)
    return code


def _run(command: Sequence[str], workers: int) -> tuple[int, int]:
    """One start of all workers: exit code and number of the first that failed; (0, -1) if none."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(workers)]
    processes = []
    try:
        for index in range(workers):
            task = {"type": "worker", "index": index}
            config = {"cluster": {"worker": addresses}, "task": task}
            environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
            processes.append(subprocess.Popen(command, env=environment))
        while True:
            codes = [process.poll() for process in processes]
            for index, code in enumerate(codes):
                if code:
                    return code, index
            if None not in codes:
                return 0, -1
            time.sleep(0.1)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _resumed(command: Sequence[str]) -> list[str]:
    """The command, with --resume when its --run-dir holds a run."""
    command = list(command)
    if "--run-dir" in command and "--resume" not in command:
        run_dir = Path(command[command.index("--run-dir") + 1])
        if (run_dir / "config.json").exists():
            command.append("--resume")
    return command


def free_ports(number: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody has now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]


def main() -> int:
    """Reads the options and launches."""
    parser = argparse.ArgumentParser(description="Starts the workers of a training here.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--restarts", type=int, default=0)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- python -m apps.…")
    options = parser.parse_args()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command or options.workers < 1:
        parser.error("expected --workers of at least 1 and, after --, the command of a training")
    try:
        return launch(command, workers=options.workers, restarts=options.restarts)
    except OSError as error:  # no such program
        parser.exit(2, f"error: {as_line(error)}\n")


if __name__ == "__main__":
    sys.exit(main())
