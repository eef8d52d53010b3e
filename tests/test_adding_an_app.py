"""docs/guides/adding_an_app.md does what it says, beside the app that is copied."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from common.runs import files

ROOT = Path(__file__).parent.parent
COPIED = ["common", "apps/__init__.py", "apps/visual_qa", "tests/apps/visual_qa", "docs/guides"]
COPIED += ["tests/conftest.py", "tests/test_app_contract.py", "tests/test_architecture.py"]
COPIED += ["pyproject.toml", "requirements.txt", "requirements-dev.txt"]
# What costs minutes and holds for any app as it holds for the original.
LEFT_OUT = "killed or half_precision or runtime or evaluate_prints or prepares or saved_model"


def test_the_contract_holds_a_copy_of_an_app_under_a_new_name(tmp_path):
    project = tmp_path / "project"
    for name in COPIED:
        source, target = ROOT / name, project / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, target)
    write_small_data(project / "easy_vqa")
    page = (ROOT / "docs" / "guides" / "adding_an_app.md").read_text(encoding="utf-8")
    commands = re.search(r"```\n(cp .*?)```", page, re.DOTALL)
    assert commands
    *making, checking = commands[1].splitlines()
    subprocess.run("\n".join(making), shell=True, check=True, cwd=project)
    assert checking.startswith("python -m pytest tests/") and checking.endswith(" -k new_app")
    # The original's data set is imported in the same process.
    chosen = f"(new_app and not ({LEFT_OUT})) or (visual_qa and verbs)"
    arguments = [*checking.split()[1:-1], chosen, "-q", "--basetemp", tmp_path / "tests"]
    completed = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=project, capture_output=True, text=True
    )
    assert completed.returncode == 0, completed.stdout[-3000:]
    passed = re.search(r"(\d+) passed", completed.stdout)
    assert passed and int(passed[1]) > 30


def write_small_data(package: Path) -> None:
    """The first images of easy-VQA as a package of that name: all take a third of the time."""
    for part in ("train", "test"):
        source = files.package_folder("easy_vqa", "easy-vqa") / "data" / part
        target = package / "data" / part
        target.mkdir(parents=True)
        rows = json.loads((source / "questions.json").read_text())
        (target / "questions.json").write_text(json.dumps([row for row in rows if row[2] < 400]))
        (target / "images").symlink_to(source / "images")
    (package / "__init__.py").touch()
