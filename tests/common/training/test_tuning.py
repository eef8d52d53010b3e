"""Facts about the search for options, on a training whose best options are known."""

import dataclasses
import json
import os
import sys
from pathlib import Path

import pytest

from common.runs.errors import UserError
from common.training import tuning

# Writes val_score = epoch - (log10(rate) + 2)^2 - (0 where size is 8, else 1), epoch by epoch. From
# the fifth trial on, a poor one waits to be stopped.
TRAINING = """
import json, math, pathlib, sys, time
options = json.loads(pathlib.Path(sys.argv[2]).read_text())
folder = pathlib.Path(sys.argv[4])
folder.mkdir(parents=True)
rows = ["epoch,val_score"]
for epoch in range(1, 4):
    score = epoch - (math.log10(options["train"]["rate"]) + 2) ** 2 - (options["size"] != 8)
    rows.append(f"{epoch},{score}")
    (folder / "new.csv").write_text("\\n".join(rows))
    (folder / "new.csv").replace(folder / "history.csv")
    poor = int(folder.name) >= 4 and epoch == 2 and score < -1
    time.sleep(5.0 if poor else 0.01)
(folder / "ended").touch()
"""
SPACE = {"train.rate": ("log", 1e-5, 1.0), "size": ("one of", 4, 8)}


@dataclasses.dataclass(frozen=True)
class Train:
    rate: float = 0.5
    other: str = "kept"


@dataclasses.dataclass(frozen=True)
class Config:
    size: int = 4
    train: Train = Train()


def search(study_dir, trials, *, space=SPACE, training=TRAINING) -> dict:
    return tuning.search(
        "app",
        Config(),
        space,
        command=(sys.executable, "-c", training),
        monitor="val_score",
        study_dir=study_dir,
        trials=trials,
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    study_dir = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "_POLL_S", 0.02)
        search(study_dir, 4)
        search(study_dir, 12)  # goes on
    return study_dir


def test_it_goes_on_to_the_number_of_trials_and_keeps_the_best(study):
    runs = sorted((study / "trials").glob("[0-9]*.json"))
    assert [path.stem for path in runs] == [f"{number:04d}" for number in range(12)]
    best = json.loads((study / "best.json").read_text())
    assert best["train"]["other"] == "kept"

    def value(path):
        options = json.loads(path.read_text())
        return tuning._values(path.with_suffix(""), "val_score")[-1], options

    ended = [path for path in runs if (path.with_suffix("") / "ended").exists()]
    assert best == max(map(value, ended), key=lambda pair: pair[0])[1]
    assert best["size"] == 8
    assert 1e-3 < best["train"]["rate"] < 0.1, "the maximum is at 0.01"
    assert (study / "study.png").read_bytes().startswith(b"\x89PNG")


def test_a_study_that_goes_on_draws_what_one_without_a_stop_draws(study, tmp_path):
    search(tmp_path, 5)
    for number in range(5):
        options, others = (
            json.loads((folder / "trials" / f"{number:04d}.json").read_text())
            for folder in (study, tmp_path)
        )
        assert options == others


def test_poor_trials_are_stopped_early(study):
    ended = {path.parent.name for path in (study / "trials").glob("*/ended")}
    stopped = sorted({path.stem for path in (study / "trials").glob("*.json")} - ended)
    assert stopped
    assert min(stopped) >= "0004", "the first four tell what is poor"


def test_each_study_has_its_database_whatever_the_name_of_its_folder(tmp_path):
    names = (
        "study ?1",
        "study ?2",
        "study ",
        "a#b",
        "a#c",
        "50%41",
        "50A",
        "[1]",
        "a*",
        "é'\"&=+{x}",
    )
    others = (
        "a*",
        os.fsdecode(b"caf\xe9"),
        "a?mode=memory",
        "..a/b?uri=false",
        ":memory:",
        "file:x",
    )
    for name in (*names, *others):
        search(tmp_path / name, 1)
        assert {"study.db", "best.json"} <= {path.name for path in (tmp_path / name).iterdir()}
    first = tmp_path / names[0]
    (first / "best.json").unlink()  # stopped before it was written
    search(first, 1)
    assert (first / "best.json").exists()
    folders = {str(Path(name)).split("/")[0] for name in (*names, *others)}
    assert {path.name for path in tmp_path.iterdir()} == folders


def test_a_folder_with_other_files_is_no_new_study(tmp_path):
    (tmp_path / "best.json").write_text("precious")
    with pytest.raises(UserError, match=r"new or empty folder for --study-dir, .* holds other fil"):
        search(tmp_path, 1)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


def test_another_search_space_is_another_study(study):
    with pytest.raises(UserError, match="another --study-dir"):
        search(study, 20, space={"size": ("one of", 4, 8)})


def test_a_training_that_fails_is_named_with_its_log(tmp_path):
    with pytest.raises(UserError, match=r"exit code 2: see .*0000\.log"):
        search(tmp_path, 2, training="print('no data'); raise SystemExit(2)")
    assert "no data" in (tmp_path / "trials" / "0000.log").read_text()
