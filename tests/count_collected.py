"""Prints how many tests each folder and each top-level file collects; exit code 1 at a zero.

A script of the gate: tests that are no longer collected would otherwise pass in silence.
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parent


def main() -> None:
    """Counts by asking pytest."""
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q"],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        sys.exit(f"pytest cannot collect the tests:\n{listed.stdout}{listed.stderr}")
    counts = Counter(line.split("::")[0] for line in listed.stdout.splitlines() if "::" in line)
    expected = [path.relative_to(TESTS.parent) for path in sorted(TESTS.rglob("test_*.py"))]
    apps = TESTS.parent / "apps"
    folders = sorted(
        {path.parent for path in expected}
        | {Path("tests/apps") / path.parent.name for path in apps.glob("*/config.py")}
    )
    for folder in folders:
        number = sum(count for name, count in counts.items() if Path(name).parent == folder)
        print(f"{number:5}  {folder}")
        if not number:
            sys.exit(f"no test is collected in {folder}")
    empty = [str(path) for path in expected if not counts[str(path)]]
    if empty:
        sys.exit(f"no test is collected in {', '.join(empty)}")


if __name__ == "__main__":
    main()
