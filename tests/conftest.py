"""Fixtures that all tests share; prepared data and tiny runs also between parallel workers."""

import fcntl
import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

# Before any test imports TensorFlow and NumPy, which read them once. Two workers share two cores:
# several threads of OpenBLAS would spin there while they wait for each other.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from common.runs import cli

ROOT = Path(__file__).parent.parent


def pytest_addoption(parser):
    """`--kills 10`: how often the contract kills a training before it lets it end."""
    parser.addoption("--kills", type=int, default=1)


def pytest_collection_modifyitems(items):
    """The files with the longest tests come first: at the end a worker would wait for another."""
    contract = ("test_app_contract.py", "test_adding_an_app.py")
    longest = (*contract, "test_strategies.py", "test_train.py")
    items.sort(key=lambda item: item.path.name not in longest)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """What a test logs of file names that are no UTF-8 could not be sent by a parallel worker."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def shared_dir(tmp_path_factory) -> Path:
    """A folder of this test session, the same for all its workers."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own


@pytest.fixture(scope="session")
def cache_dir(shared_dir) -> Path:
    """Prepared data sets. The first test that needs one prepares it, while the others wait."""
    return shared_dir / "tfds"


@pytest.fixture(scope="session")
def run_command():
    """`run_command(app, command, *arguments)`: as the shell would call it, in this process."""

    def run(app: str, command: str, *arguments: object) -> None:
        words = [str(argument) for argument in arguments]
        defaults = {}
        if command == "train":
            presets = importlib.import_module(f"apps.{app}.config").PRESETS
            defaults["config"] = cli.default_config(presets, words)
        main = importlib.import_module(f"apps.{app}.{command}").main
        cli.parse(main, words, **defaults)()

    return run


@pytest.fixture(scope="session")
def tiny_options(cache_dir):
    """`tiny_options(run_dir)`: the options of `train` with which every tiny run is made."""
    fixed = ["--preset", "tiny", "--data.cache-dir", str(cache_dir), "--train.deterministic"]
    fixed += ["--train.warmup-steps", "2", "--train.average", "0.5"]
    return lambda run_dir: ["--run-dir", str(run_dir), *fixed]


@pytest.fixture(scope="session")
def tiny_run(shared_dir, run_command, tiny_options):
    """`tiny_run(app)`: a run of the TINY preset, trained once for all tests. Do not change it."""

    def train(app: str, path: Path) -> None:
        from common.training.logging import TrainingLog

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TrainingLog, "SAMPLES_EVERY_S", 0.0)
            run_command(app, "train", *tiny_options(path))

    return lambda app: _made_once(shared_dir / f"tiny-{app}", functools.partial(train, app))


@pytest.fixture(scope="session")
def tiny_export(tiny_run, shared_dir, run_command):
    """`tiny_export(app, format)`: the tiny run, exported once for all tests.

    Where machine code is allowed, as in a notebook that asks the model before: none is exported.
    """
    from common.lstm.layer import machine_code

    def export(app: str, format: str = "saved_model") -> Path:
        options = ("--run-dir", tiny_run(app), "--format", format, "--output")
        with machine_code():
            return _made_once(
                shared_dir / f"{format}-{app}",
                lambda path: run_command(app, "export", *options, path),
            )

    return export


@pytest.fixture
def standalone(monkeypatch):
    """`standalone(path)`: a file that exports are given, as a module; its neighbours are found."""
    shared = ROOT / "common" / "export" / "standalone"

    def load(path: str):
        file = ROOT / path
        monkeypatch.setattr(sys, "path", [str(file.parent), str(shared), *sys.path])
        spec = importlib.util.spec_from_file_location(f"exported_{file.stem}", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def _made_once(path: Path, make: Callable[[Path], None]) -> Path:
    """`path`, made by the first test worker that asks for it while the others wait."""
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed
        if not path.exists():
            make(path)
    return path
