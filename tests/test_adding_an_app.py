"""docs/guides/adding_an_app.md does what it says: the copy of an app is an app, and needs no other."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
COPIED = ["common", "apps/__init__.py", "apps/visual_qa", "tests/conftest.py", "pyproject.toml"]
COPIED += ["tests/test_app_contract.py", "tests/apps/visual_qa"]


def test_the_contract_holds_a_copy_of_an_app_under_a_new_name(tmp_path):
    for name in COPIED:
        source, target = ROOT / name, tmp_path / "project" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, target)
    page = (ROOT / "docs" / "guides" / "adding_an_app.md").read_text(encoding="utf-8")
    *making, checking = re.findall(r"```\n(.*?)```", page, re.DOTALL)[0].splitlines()
    assert checking.startswith("python -m pytest")
    subprocess.run("\n".join(making), shell=True, check=True, cwd=tmp_path / "project")
    shutil.rmtree(tmp_path / "project" / "apps" / "visual_qa")
    done = subprocess.run(
        [sys.executable, *checking.split()[1:], "-q", "--basetemp", str(tmp_path / "tests")],
        cwd=tmp_path / "project",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > 30
