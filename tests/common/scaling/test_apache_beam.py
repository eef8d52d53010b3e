"""Facts about preparing on Apache Beam, with its runner in this process."""

import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from common.inputs.datasets import BrokenRows
from common.runs.errors import UserError
from common.scaling import apache_beam

pytest.importorskip("apache_beam")
RUNNER = "runner=FnApiRunner"


def records(number: int, broken: BrokenRows):
    if broken.use(f"rows.txt:{number}", "a multiple of 100" if number % 100 == 0 else None):
        yield str(number), {"number": number}


class Numbers(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, listed: range, on_beam: bool, **kwargs):
        self.listed, self.on_beam = listed, on_beam
        self.broken = BrokenRows("rows.txt")
        super().__init__(**kwargs)

    def _info(self):
        features = tfds.features.FeaturesDict({"number": tfds.features.Scalar(np.int32)})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        parts = {"train": self.listed[::2], "test": self.listed[1::2]}
        return {part: self._generate_examples(listed) for part, listed in parts.items()}

    def _generate_examples(self, listed):
        return apache_beam.examples(listed, records, self.broken, on_beam=self.on_beam)


def prepared(folder, listed: range, *, beam: str | None) -> dict[str, list[int]]:
    builder = Numbers(listed=listed, on_beam=beam is not None, data_dir=folder)
    apache_beam.prepare(builder, builder.broken, options=beam)
    return {
        part: [int(row["number"]) for row in tfds.as_numpy(builder.as_dataset(split=part))]
        for part in ("train", "test")
    }


def test_workers_make_the_records_of_one_process_in_their_order(tmp_path, caplog):
    caplog.set_level("INFO", logger="cellstate")
    messages, parts = [], []
    for beam in (None, RUNNER):
        caplog.clear()
        parts.append(prepared(tmp_path / str(beam), range(1, 302), beam=beam))
        messages.append([line for line in caplog.messages if "broken" in line])
    assert parts[0] == parts[1]
    assert sorted(parts[0]["train"]) == [n for n in range(1, 302, 2) if n % 100]
    assert len(messages[0]) == 1
    for line in messages[0] + messages[1]:
        assert "3 broken rows skipped" in line
        assert all(f"rows.txt:{number}: a multiple" in line for number in (100, 200, 300))


def test_too_many_broken_rows_of_all_workers_leave_nothing(tmp_path):
    with pytest.raises(UserError, match="at most 1% broken rows, got 1 of 50"):
        prepared(tmp_path, range(51, 101), beam=RUNNER)
    assert not list(tmp_path.rglob("*.tfrecord*"))


def test_without_the_package_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam.options.pipeline_options", None)
    with pytest.raises(UserError, match="pip install apache-beam"):
        prepared(tmp_path, range(10), beam=RUNNER)
