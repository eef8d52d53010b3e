"""Facts about prepared data sets, found files and the account of broken rows."""

import json
import logging
import math
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from common.inputs import datasets
from common.inputs.datasets import (
    BrokenRows,
    fingerprint,
    is_held_back,
    official_file,
)
from common.runs.errors import UserError
from common.runs.files import package_folder

# Broken rows


def counted(num_rows: int, num_broken: int) -> BrokenRows:
    broken = BrokenRows("corpus.txt")
    for row in range(num_rows):
        broken.use(f"row {row}", "no words" if row < num_broken else None)
    return broken


@pytest.mark.parametrize(("num_rows", "num_broken"), [(0, 0), (99, 0), (100, 1), (1000, 10)])
def test_one_row_in_a_hundred_may_be_broken(num_rows, num_broken):
    broken = counted(num_rows, num_broken)
    broken.check()
    assert (broken.num_rows, len(broken.skipped)) == (num_rows, num_broken)


@pytest.mark.parametrize(("num_rows", "num_broken"), [(1, 1), (99, 1), (1000, 11)])
def test_more_than_one_broken_row_in_a_hundred_is_refused(num_rows, num_broken):
    with pytest.raises(
        UserError,
        match=rf"^corpus\.txt: .* {num_broken} of {num_rows}, the first is row 0: no words",
    ):
        counted(num_rows, num_broken).check()


def test_a_row_with_a_problem_is_not_to_be_used():
    broken = BrokenRows("corpus.txt")
    assert [broken.use("row 1", None), broken.use("row 2", "")] == [True, False]


# Files


def test_the_folder_of_a_package_is_found():
    assert package_folder("tensorflow_datasets", "x") == Path(tfds.__file__).parent


@pytest.mark.parametrize("module", ["no_such_package", "zipimport"])
def test_a_package_that_is_missing_or_has_no_folder_gives_the_pip_line(module):
    with pytest.raises(UserError, match=r"not installed: run `pip install no-such-package==1\.2`"):
        package_folder(module, "no-such-package==1.2")


def test_an_official_file_is_found_under_its_root(tmp_path):
    (tmp_path / "v2").mkdir()
    (tmp_path / "v2" / "train.json").write_text("{}")
    path = official_file(tmp_path, "v2/train.json", get_it_from="https://x")
    assert path == tmp_path / "v2" / "train.json"


def test_upper_and_lower_case_of_files_and_folders_are_taken_as_equal(tmp_path):
    (tmp_path / "TIMIT" / "Train").mkdir(parents=True)
    (tmp_path / "TIMIT" / "Train" / "SA1.WAV").write_text("")
    path = official_file(tmp_path, "timit/TRAIN/sa1.wav", get_it_from="https://x")
    assert path == tmp_path / "TIMIT" / "Train" / "SA1.WAV"


def test_of_two_files_that_differ_in_case_the_exact_name_is_taken(tmp_path):
    for name in ("SA1.WAV", "sa1.wav", "Sa1.wav"):
        (tmp_path / name).write_text("")
    assert official_file(tmp_path, "Sa1.wav", get_it_from="https://x") == tmp_path / "Sa1.wav"


def test_a_missing_file_gives_its_path_and_where_to_get_it(tmp_path):
    expected = re.escape(
        f"expected {tmp_path / 'v2/train.json'}, found none: get it from https://x"
    )
    with pytest.raises(UserError, match=expected):
        official_file(tmp_path, "v2/train.json", get_it_from="https://x")


def test_a_missing_root_gives_the_path_of_the_file(tmp_path):
    with pytest.raises(UserError, match=re.escape(f"expected {tmp_path / 'absent' / 'a'}")):
        official_file(tmp_path / "absent", "a", get_it_from="https://x")


def test_without_a_root_the_option_is_named():
    with pytest.raises(UserError, match=r"expected --data\.root, .* holds a, got none.*https://x"):
        official_file(None, "a", get_it_from="https://x")


def test_a_fingerprint_stays_while_the_files_stay(tmp_path):
    (tmp_path / "a").write_text("1")
    assert fingerprint([tmp_path / "a"]) == fingerprint([tmp_path / "a"])


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_text("12"),
        lambda path: os.utime(path, ns=(5, 5)),
    ],
)
def test_a_fingerprint_changes_with_the_files(tmp_path, change):
    (tmp_path / "a").write_text("1")
    before = fingerprint([tmp_path / "a"])
    change(tmp_path / "a")
    assert fingerprint([tmp_path / "a"]) != before


def test_a_dead_link_among_the_files_is_no_error(tmp_path):
    (tmp_path / "a").write_text("a")
    (tmp_path / "dead").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    paths = [tmp_path / name for name in ("a", "dead", "loop", "absent", "b" * 300)]
    assert fingerprint(paths) == fingerprint(paths[:1])


def test_a_fingerprint_changes_with_the_facts():
    assert fingerprint([], facts=["numpy 1"]) != fingerprint([], facts=["numpy 2"])


def test_files_of_equal_content_in_two_places_have_two_fingerprints(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text("1")
        os.utime(tmp_path / name, ns=(5, 5))
    assert fingerprint([tmp_path / "a"]) != fingerprint([tmp_path / "b"])


# Held back


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_the_share_held_back_is_the_one_asked_for(share):
    num_keys = 10_000
    held = sum(is_held_back(f"image_{i}", share=share) for i in range(num_keys))
    deviation = math.sqrt(num_keys * share * (1 - share))
    assert abs(held - num_keys * share) < 4 * deviation


def test_whether_a_key_is_held_back_is_the_same_for_ever():
    # From sha256 of the key by hand: a future version must hold back the same examples.
    held = [i for i in range(40) if is_held_back(f"image_{i}", share=0.2)]
    assert held == [5, 10, 15, 20, 21, 22, 26, 28, 35]


def test_a_larger_share_holds_back_what_a_smaller_one_does():
    keys = [f"image_{i}" for i in range(500)]
    small = {key for key in keys if is_held_back(key, share=0.1)}
    assert small <= {key for key in keys if is_held_back(key, share=0.3)}


@pytest.mark.parametrize(("share", "held"), [(0.0, False), (1.0, True)])
def test_nothing_and_everything_can_be_held_back(share, held):
    assert {is_held_back(str(i), share=share) for i in range(200)} == {held}


# Preparing


class Rows(tfds.core.GeneratorBasedBuilder):
    """Three good rows, and what a test adds."""

    VERSION = tfds.core.Version("1.0.0")
    pkg_dir_path = Path(__file__).parent

    def __init__(self, *, broken: BrokenRows, num_good=3, num_broken=0, error=None, **k):
        self.broken, self.num_good, self.num_broken = broken, num_good, num_broken
        self.error = error
        super().__init__(**k)

    def _info(self):
        features = tfds.features.FeaturesDict({"number": tfds.features.Scalar(np.int32)})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(self.num_good + self.num_broken):
            problem = "no words" if number < self.num_broken else None
            if self.broken.use(f"rows.txt:{number + 1}", problem):
                yield number, {"number": number}
        if self.error is not None:
            raise self.error
        self.broken.check()


@pytest.fixture
def rows(tmp_path):
    def make(**options) -> Rows:
        return Rows(broken=BrokenRows("rows.txt"), data_dir=tmp_path, **options)

    return make


def prepare(builder: Rows) -> list[int]:
    datasets.prepare(builder, builder.broken)
    return sorted(int(row["number"]) for row in tfds.as_numpy(builder.as_dataset(split="train")))


def test_a_prepared_set_holds_the_rows_of_its_source(rows):
    assert prepare(rows()) == [0, 1, 2]


def test_a_prepared_set_is_not_read_from_its_source_again(rows):
    prepare(rows())
    again = rows(error=AssertionError("the source was read again"))
    assert prepare(again) == [0, 1, 2]


def test_of_two_that_prepare_at_once_one_does_and_the_other_reads(rows):
    builders = [rows(), rows()]
    begun, written = threading.Barrier(2, timeout=60), []
    for builder in builders:
        generate = builder._generate_examples

        def slow(generate=generate):
            written.append(1)
            time.sleep(0.2)  # the other one comes meanwhile
            yield from generate()

        builder._generate_examples = slow

    def together(builder: Rows) -> list[int]:
        begun.wait()
        return prepare(builder)

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(together, builders)) == [[0, 1, 2]] * 2
    assert written == [1]


def test_a_part_without_examples_is_named_and_leaves_nothing(rows, tmp_path):
    with pytest.raises(UserError, match="expected examples in the train part"):
        prepare(rows(num_good=0))
    assert not list(tmp_path.rglob("*.tfrecord*"))


def test_skipped_rows_are_logged_when_they_are_skipped_and_at_each_later_use(rows, caplog):
    caplog.set_level(logging.INFO, logger="cellstate")
    for _ in range(2):
        prepare(rows(num_good=200, num_broken=2))
    line = "rows: 2 broken rows skipped: rows.txt:1: no words; rows.txt:2: no words"
    assert [message for message in caplog.messages if "broken" in message] == [line] * 2


def test_of_many_skipped_rows_the_first_five_are_named(rows, caplog):
    caplog.set_level(logging.INFO, logger="cellstate")
    prepare(rows(num_good=700, num_broken=7))
    message = next(m for m in caplog.messages if "broken" in m)
    assert message.startswith("rows: 7 broken rows skipped: rows.txt:1: no words;")
    named, account = message.split("; more in ")
    assert named.endswith("rows.txt:5: no words")
    assert len(json.loads(Path(account).read_text())["skipped"]) == 7


def test_nothing_is_logged_when_nothing_was_skipped(rows, caplog):
    caplog.set_level(logging.INFO, logger="cellstate")
    prepare(rows())
    assert [m for m in caplog.messages if "broken" in m] == []


def test_too_many_broken_rows_are_a_users_error(rows):
    with pytest.raises(UserError, match=r"^rows\.txt: expected at most 1% broken rows, got 3 of 6"):
        prepare(rows(num_broken=3))


def test_an_error_of_the_source_comes_out_as_it_was_raised(rows):
    error = UserError("rows.txt:4: expected 3 fields, got 2")
    with pytest.raises(UserError) as caught:
        prepare(rows(error=error))
    assert str(caught.value) == "rows.txt:4: expected 3 fields, got 2"


def test_after_an_error_nothing_is_left_and_a_second_try_works(rows, tmp_path):
    with pytest.raises(UserError):
        prepare(rows(error=UserError("expected 3 fields")))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert prepare(rows()) == [0, 1, 2]


def test_a_defect_in_a_builder_is_no_users_error(rows):
    with pytest.raises(ZeroDivisionError):
        prepare(rows(error=ZeroDivisionError("a defect")))


def test_preparing_writes_nothing_to_standard_output(rows, capfd):
    datasets.prepare(rows(), None)
    assert capfd.readouterr().out == ""
