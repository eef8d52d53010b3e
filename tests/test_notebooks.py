"""The notebooks call the project and define nothing. `make notebooks` executes them."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
OURS = ("apps", "common", "serving", "benchmarks")
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def file_of(module: str) -> Path | None:
    """The file of a module of the project, or of a package its __init__.py."""
    place = ROOT.joinpath(*module.split("."))
    files = [path for path in (place.with_suffix(".py"), place / "__init__.py") if path.exists()]
    return files[0] if files else None


def names_in(module: str) -> set[str]:
    """What a module binds at its top level."""
    names = set()
    for node in ast.parse(file_of(module).read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        else:
            names |= {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    return names


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 1


@every_notebook
def test_a_notebook_defines_nothing(path):
    assert [node.lineno for node in nodes(path) if isinstance(node, DEFINITIONS)] == []


@every_notebook
def test_a_notebook_builds_no_layers_of_its_own(path):
    used = {ast.unparse(node) for node in nodes(path) if isinstance(node, ast.Attribute)}
    imported = {
        f"{node.module}.{alias.name}"
        for node in nodes(path)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert [name for name in used | imported if re.search(r"\bkeras\.layers\b", name)] == []


@every_notebook
def test_a_notebook_begins_with_its_title(path):
    header, first, *_ = path.read_text(encoding="utf-8").split("# %%")
    assert "format_name: percent" in header and "name: python3" in header
    assert first.startswith(" [markdown]\n# # ")


@every_notebook
def test_what_a_notebook_takes_from_the_project_exists(path):
    modules = {}  # the name in the notebook -> the module of the project
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in OURS:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if file_of(inner):
                    modules[alias.asname or alias.name] = inner
                else:
                    assert alias.name in names_in(node.module), inner
    for node in nodes(path):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id)
            assert module is None or node.attr in names_in(module), f"{module}.{node.attr}"


def test_the_readme_says_what_each_notebook_shows():
    page = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(\w+)\]\(\1\.py\) \| .+ \|$", page, re.MULTILINE)
    assert rows == [path.stem for path in NOTEBOOKS]
