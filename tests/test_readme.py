"""The READMEs say what is true: commands run, the table lists the apps, links lead somewhere."""

import importlib
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from common.runs import cli

ROOT = Path(__file__).parent.parent
APPS = sorted(path.parent.name for path in (ROOT / "apps").glob("*/config.py"))
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "apps").glob("*/README.md")),
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "notebooks" / "README.md",
]


def commands(page: Path) -> list[tuple[str, str, list[str]]]:
    """(app, command, arguments) of each command line in the fenced blocks and tables of a page."""
    lines = re.findall(r"python -m apps\.(\w+)\.(\w+)((?: [^\n`|]*)?)", page.read_text())
    return [(app, command, shlex.split(rest, comments=True)) for app, command, rest in lines]


ALL = [(page, *command) for page in PAGES for command in commands(page)]


def test_the_pages_show_commands():
    assert len(ALL) >= 8


@pytest.mark.parametrize(("page", "app", "command", "arguments"), ALL)
def test_every_command_parses(page, app, command, arguments):
    defaults = {}
    if command in ("train", "tune"):
        presets = importlib.import_module(f"apps.{app}.config").PRESETS
        # A file of options is one that another command writes.
        without_file = [
            word for word in arguments if not word.endswith(".json") and word != "--config"
        ]
        defaults["config"] = cli.default_config(presets, without_file)
    cli.parse(importlib.import_module(f"apps.{app}.{command}").main, arguments, **defaults)


def test_the_table_lists_the_apps():
    rows = re.findall(r"^\| \[(\w+)\]\(apps/\1\)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert rows == APPS


@pytest.mark.parametrize("app", APPS)
def test_the_page_of_an_app_has_at_most_900_words(app):
    page = (ROOT / "apps" / app / "README.md").read_text(encoding="utf-8")
    assert len(page.split()) <= 900
    assert (ROOT / "docs" / "results" / f"{app}.md").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    for link in re.findall(r"\]\(([^)#\s\"]+)(?:#[^)\s]*)?\)", page.read_text()):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), link


def test_the_make_targets_of_the_readme_exist():
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"^make ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert named and set(named) <= targets


def test_make_serve_takes_the_models_of_the_demo_and_nothing_else(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    requirements = [path.name for path in ROOT.glob("requirements*.txt")]
    for name in (*requirements, "runs/demo/report.html"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("runs/demo/vqa/saved_model", "runs/demo/unfinished", ".venv"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".venv" / "done").touch()
    completed = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "serve"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    last = completed.stdout.splitlines()[-1]
    assert last.endswith("serving.page --model vqa=runs/demo/vqa/saved_model")
