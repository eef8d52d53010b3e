"""The import rules of docs/architecture.md, read from the source by `ast`."""

import ast
import dataclasses
import importlib
import importlib.metadata
import re
import subprocess
from pathlib import Path

import pytest

from common.training.options import Options

ROOT = Path(__file__).parent.parent
APPS = sorted(path.name for path in (ROOT / "apps").iterdir() if (path / "config.py").exists())
OURS = {"apps", "common", "serving", "notebooks", "benchmarks", "tests"}
# The files at the top of an app, and what each may import of the app besides its sub-packages.
ALLOWED = {
    "__init__": set(),
    "config": set(),
    "datasets": {"config"},
    "data": {"config", "datasets"},
    "model": {"config"},
    "train": {"config", "data", "model", "predict"},
    "evaluate": {"config", "data", "model", "predict"},
    "predict": {"config", "model"},
    "export": {"config", "datasets", "model", "predict"},
    "check_data": {"config", "datasets"},
    "tune": {"config", "train"},  # what `train` chooses for a data set
    "runtime": set(),
}
NO_SUB_PACKAGES = ("__init__", "config", "runtime", "tune")
MOST_LINES = {"train": 120}
MOST_SUB_PACKAGES = 2
MOST_OPTIONS = 30  # of its own
# Packages that only developers need, or that a user installs for one option.
OPTIONAL = {
    *("pocketsphinx", "apache_beam", "nltk"),
    *("tf2onnx", "onnx", "onnxruntime", "ai_edge_litert"),
}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it, by full name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def top_level_imports(path: Path) -> set[str]:
    """Modules imported when the file itself is, by first name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


def ours(path: Path) -> set[str]:
    return {name for name in imports(path) if name.split(".")[0] in OURS}


PACKAGES = ("layers", "lstm", "inputs", "plots", "training", "decoding", "scoring", "export")
PACKAGES += ("scaling", "runs")
BELOW = {
    "layers": {"lstm"},
    "training": {"layers", "lstm"},
}  # besides `runs`, which every package may use


def packages_imported(path: Path) -> set[str]:
    return {name.split(".")[1] for name in ours(path) if name.startswith("common.")}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "common").rglob("*.py")), ids=lambda p: f"{p.parent.name}/{p.name}"
)
def test_common_imports_no_app_and_no_package_below(path):
    assert {name.split(".")[0] for name in ours(path)} <= {"common"}
    if path.parent.name == "runs":
        assert packages_imported(path) <= {"runs"}
    elif path.parent.name in PACKAGES:
        place = PACKAGES.index(path.parent.name)
        allowed = {*PACKAGES[: place + 1], "runs"} | BELOW.get(path.parent.name, set())
        assert packages_imported(path) <= allowed


def test_common_holds_its_packages_and_nothing_else():
    names = {path.name for path in (ROOT / "common").iterdir() if path.name != "__pycache__"}
    assert names == {*PACKAGES, "__init__.py"}


def test_no_imports_go_in_circles():
    """Imports inside functions count too."""
    folders = [ROOT / name for name in ("apps", "benchmarks", "common", "serving")]
    files = {
        path: ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for folder in folders
        for path in folder.rglob("*.py")
    }
    modules = set(files.values())
    graph = {name: (ours(path) & modules) - {name} for path, name in files.items()}
    while leaves := [name for name, wanted in graph.items() if not wanted & set(graph)]:
        for name in leaves:
            del graph[name]
    assert graph == {}


def test_the_fast_lstm_is_imported_through_its_public_module_alone():
    for folder in ("apps", "benchmarks", "common", "notebooks", "serving"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.parent.name != "lstm":
                names = {name for name in imports(path) if name.startswith("common.lstm.")}
                assert all(f"{name}.".startswith("common.lstm.layer.") for name in names), path


@pytest.mark.parametrize("path", sorted((ROOT / "serving").glob("*.py")), ids=lambda p: p.name)
def test_serving_knows_models_never_apps(path):
    assert {name.split(".")[0] for name in ours(path)} <= {"serving"}


def files_of(app: str) -> list[Path]:
    return sorted((ROOT / "apps" / app).rglob("*.py"))


def sub_packages(app: str) -> set[str]:
    return {path.parent.name for path in (ROOT / "apps" / app).glob("*/*.py")}


def parts_imported(path: Path, app: str) -> set[str]:
    """Files at the top of the app and sub-packages that a file imports, by first name."""
    return {name.split(".")[2] for name in ours(path) if name.startswith(f"apps.{app}.")}


@pytest.mark.parametrize("app", APPS)
def test_no_app_imports_another(app):
    for path in files_of(app):
        of_apps = {name for name in ours(path) if name.startswith("apps.")}
        assert {name for name in of_apps if not f"{name}.".startswith(f"apps.{app}.")} == set()


@pytest.mark.parametrize("app", APPS)
def test_no_file_of_an_app_names_another(app):
    for path in [*files_of(app), *(ROOT / "apps" / app).glob("*.md")]:
        words = path.read_text(encoding="utf-8")
        assert [other for other in APPS if other != app and f"apps.{other}" in words] == []


@pytest.mark.parametrize("module", sorted(ALLOWED))
@pytest.mark.parametrize("app", APPS)
def test_files_of_an_app_import_only_what_they_may(app, module):
    beside = set() if module in NO_SUB_PACKAGES else sub_packages(app)
    path = ROOT / "apps" / app / f"{module}.py"
    assert parts_imported(path, app) <= ALLOWED[module] | beside


@pytest.mark.parametrize("app", APPS)
def test_sub_packages_of_an_app_know_nothing_above_its_configuration(app):
    for path in (ROOT / "apps" / app).glob("*/**/*.py"):
        assert parts_imported(path, app) <= {"config"} | sub_packages(app), path


@pytest.mark.parametrize("app", APPS)
def test_config_imports_nothing_of_ours_but_the_options_of_all_trainings(app):
    assert ours(ROOT / "apps" / app / "config.py") <= {
        "common.training.options",
        "common.training.options.Options",
    }


@pytest.mark.parametrize(
    "module", ["config", "train", "evaluate", "predict", "export", "check_data", "tune"]
)
@pytest.mark.parametrize("app", APPS)
def test_commands_do_not_import_tensorflow_at_their_top(app, module):
    heavy = {"tensorflow", "keras", "tensorflow_datasets", "sklearn", "matplotlib"}
    assert top_level_imports(ROOT / "apps" / app / f"{module}.py") & heavy == set()


@pytest.mark.parametrize("app", APPS)
def test_an_app_has_the_same_files_as_all(app):
    folder = ROOT / "apps" / app
    assert {path.stem for path in folder.glob("*.py")} == set(ALLOWED)
    assert (folder / "README.md").exists()
    assert (ROOT / "tests" / "apps" / app).is_dir()
    assert len(sub_packages(app)) <= MOST_SUB_PACKAGES


@pytest.mark.parametrize("app", APPS)
def test_an_app_is_short_enough_to_read(app):
    for name, most in MOST_LINES.items():
        path = ROOT / "apps" / app / f"{name}.py"
        assert len(path.read_text(encoding="utf-8").splitlines()) <= most, path
    config = importlib.import_module(f"apps.{app}.config").SMALL
    shared = {field.name for field in dataclasses.fields(Options)}
    own = [name for name in options(config) if name.removeprefix("train.") not in shared]
    assert len(own) <= MOST_OPTIONS, own


def options(config: object, prefix: str = "") -> list[str]:
    """Dotted names of all options."""
    names = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        inner = f"{prefix}{field.name}"
        names += options(value, f"{inner}.") if dataclasses.is_dataclass(value) else [inner]
    return names


def test_the_requirements_of_a_user_hold_what_the_project_imports():
    """Also of packages that come with others; those that do not are imported inside functions."""
    packages = importlib.metadata.packages_distributions()
    for_developers = required("requirements-dev.txt")
    for folder in ("apps", "common", "serving"):
        for path in (ROOT / folder).rglob("*.py"):
            for name in {name.split(".")[0] for name in imports(path)}:
                if for_developers.isdisjoint(map(normalized, packages.get(name, ()))):
                    continue
                assert name in OPTIONAL, f"{path} imports {name}"
                assert name not in top_level_imports(path) or "standalone" in path.parts, path


def required(name: str) -> set[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {normalized(re.split(r"[=\[ ]", line)[0]) for line in lines if re.match("[a-z]", line)}


def normalized(distribution: str) -> str:
    return distribution.lower().replace("_", "-")


def test_nothing_is_unpickled_outside_the_restricted_reader():
    folders = ("common", "apps", "serving")
    for path in [path for folder in folders for path in (ROOT / folder).rglob("*.py")]:
        if path.name != "checkpoint_reader.py":
            names = {name.split(".")[0] for name in imports(path)}
            assert names & {"pickle", "dill", "joblib", "cloudpickle"} == set(), path


def test_no_file_is_too_large_to_be_source():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = [ROOT / name for name in listed.stdout.splitlines()]
    assert [path for path in paths if path.exists() and path.stat().st_size > 500_000] == []
    assert len(paths) > 50
