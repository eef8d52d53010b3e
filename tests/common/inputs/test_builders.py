"""Facts about builders of data sets: they follow their code, and two may have one name."""

import importlib
import logging
import pickle
import sys

import pytest
import tensorflow_datasets as tfds

from common.inputs import datasets

BUILDER = """
import numpy as np
import tensorflow_datasets as tfds
from common.inputs import builders
from toy_apps.tagging import config
from .corpora import formats

class Words(builders.Builder):
    VERSION = tfds.core.Version("1.0.0")
    pkg_dir_path = __file__

    def _info(self):
        features = tfds.features.FeaturesDict({"label": tfds.features.Scalar(np.int32)})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for word in ("a", "bb"):
            yield word, {"label": formats.label(word)}
"""
FORMATS = "def label(word):\n    return len(word)\n"
MODULE = "toy_apps.tagging.datasets"


@pytest.fixture
def app(tmp_path, monkeypatch):
    """An app whose datasets.py reads through another module; gives its folder."""
    folder = tmp_path / "toy_apps" / "tagging"
    folder.mkdir(parents=True)
    (folder / "corpora").mkdir()
    for package in (folder.parent, folder, folder / "corpora"):
        (package / "__init__.py").write_text("")
    (folder / "config.py").write_text("EPOCHS = 3\n")
    (folder / "unused.py").write_text("")
    (folder / "datasets.py").write_text(BUILDER)
    (folder / "corpora" / "formats.py").write_text(FORMATS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield folder
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.startswith("toy_apps")]:
        del sys.modules[name]


def make_builder(tmp_path, config: str = "files-fold0"):
    """The builder as a new process would import it."""
    forget()
    source = tfds.core.BuilderConfig(name=config)
    return importlib.import_module(MODULE).Words(data_dir=tmp_path / "data", config=source)


def labels(builder) -> list[int]:
    datasets.prepare(builder)
    return sorted(int(row["label"]) for row in tfds.as_numpy(builder.as_dataset(split="train")))


def test_a_set_is_prepared_anew_when_the_code_that_reads_it_has_changed(app, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="cellstate")
    for _ in range(2):  # the second time it is there
        assert labels(make_builder(tmp_path)) == [1, 2]
    (app / "corpora" / "formats.py").write_text("def label(word):\n    return 7\n")
    assert labels(make_builder(tmp_path)) == [7, 7]
    assert labels(make_builder(tmp_path, "other-files")) == [7, 7]
    lines = [m.split(", into")[0] for m in caplog.messages if m.startswith("words: ")]
    assert lines == [
        "words: prepares",
        "words: prepares anew, the code that reads it has changed",
        "words: prepares",
    ]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("corpora/formats", '"""A."""\ndef label(word):  # of letters\n    return len(word)\n'),
        ("config", "EPOCHS = 4\n"),
        ("unused", "WIDTH = 4\n"),
    ],
)
def test_comments_options_and_other_modules_change_nothing(app, tmp_path, name, code):
    before = make_builder(tmp_path).data_dir
    (app / f"{name}.py").write_text(code)
    assert make_builder(tmp_path).data_dir == before


def test_a_builder_without_a_config_follows_its_code_too(app, tmp_path):
    make_builder(tmp_path)
    before = sys.modules[MODULE].Words(data_dir=tmp_path).data_dir
    (app / "corpora" / "formats.py").write_text("def label(word):\n    return 7\n")
    assert sys.modules[MODULE].Words(data_dir=tmp_path).data_dir != before


def test_a_pickled_builder_has_the_same_folder(app, tmp_path):
    builder = make_builder(tmp_path)
    assert pickle.loads(pickle.dumps(builder)).data_dir == builder.data_dir
