"""The tiny run of answer selection with other options, without another training."""

import json
import shutil

import pytest


@pytest.fixture(scope="session")
def changed_run(tiny_run, tmp_path_factory):
    """`changed_run(**options)`: a copy of the tiny run, e.g. `model={"agreement": 8.0}`."""

    def copy(**changes: dict):
        path = tmp_path_factory.mktemp("runs") / "changed"
        shutil.copytree(tiny_run("answer_selection"), path)
        options = json.loads((path / "config.json").read_text())
        for part, values in changes.items():
            options[part] |= values
        (path / "config.json").write_text(json.dumps(options, default=str))
        return path

    return copy
