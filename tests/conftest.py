"""Fixtures that all tests share."""

import functools
import importlib
import os

# Before any test imports TensorFlow, which reads it once.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

from common import cli


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory):
    """Prepared data sets, made once for all tests of a session."""
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="session")
def run_command():
    """`run_command(app, command, *arguments)`: as the shell would call it, in this process."""

    def run(app: str, command: str, *arguments: object) -> None:
        given = [str(argument) for argument in arguments]
        defaults = {}
        if command == "train":
            presets = importlib.import_module(f"apps.{app}.config").PRESETS
            defaults["config"] = cli.default_config(presets, given)
        main = importlib.import_module(f"apps.{app}.{command}").main
        cli.parse(main, given, **defaults)()

    return run


@pytest.fixture(scope="session")
def tiny_run(cache_dir, tmp_path_factory, run_command):
    """`tiny_run(app)`: a run of the TINY preset, trained once for all tests of a session."""

    @functools.cache
    def train(app: str):
        path = tmp_path_factory.mktemp(app) / "run"
        run_command(
            app,
            "train",
            "--run-dir",
            path,
            "--preset",
            "tiny",
            "--data.cache-dir",
            cache_dir,
            "--train.deterministic",
        )
        return path

    return train
