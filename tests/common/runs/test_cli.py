"""Facts about the command line: what a person types, and the line and exit code that come back."""

import errno
import logging
import os
import socket
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest

from common.inputs import datasets
from common.runs import cli, files
from common.runs.directory import RunDirectory
from common.runs.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    units: int = 8
    fusion: Literal["sum", "product"] = "sum"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    epochs: int = 3


@dataclass(frozen=True, kw_only=True)
class Config:
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self):
        if self.train.epochs < 1:
            raise UserError(f"train.epochs must be at least 1, got {self.train.epochs}")


PRESETS = {
    "tiny": Config(model=ModelConfig(units=2)),
    "small": Config(),
    "paper": Config(model=ModelConfig(units=1024)),
}


@pytest.fixture(autouse=True)
def keep_logging():
    logger = logging.getLogger("cellstate")
    level, absl = logger.level, logging.getLogger("absl").level
    yield
    logger.setLevel(level)
    logging.getLogger("absl").setLevel(absl)
    for handler in [h for h in logger.handlers if isinstance(h, logging.FileHandler)]:
        logger.removeHandler(handler)
        handler.close()


@pytest.fixture
def train(monkeypatch):
    """Runs a small command; gives its exit code and the config it was called with."""

    def run(*arguments: str) -> tuple[int, Config | None]:
        configs = []

        def main(
            config: Annotated[Config, cli.FLAT],
            run_dir: Path,
            preset: Literal["tiny", "small", "paper"] = "small",
            resume: bool = False,
        ) -> None:
            configs.append(config)

        monkeypatch.setattr(sys, "argv", ["train", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.run(main, presets=PRESETS)
        return stop.value.code, configs[0] if configs else None

    return run


@pytest.fixture
def fail(monkeypatch):
    """Runs a command that raises; gives its exit code."""

    def run(error: BaseException) -> int:
        def main() -> None:
            raise error

        monkeypatch.setattr(sys, "argv", ["command"])
        with pytest.raises(SystemExit) as stop:
            cli.run(main)
        return stop.value.code

    return run


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model.unitz", "5"], ["--model.unitz", "--model.units"]),
        (["--modle.units=5"], ["--modle.units", "--model.units"]),
        (["--model.units", "many"], ["--model.units", "many", "int"]),
        (["--model.fusion", "glue"], ["glue", "sum", "product"]),
        (["--preset", "huge"], ["huge", "tiny", "small", "paper"]),
        (["--preset"], ["--preset"]),
        (["--train.epochs"], ["--train.epochs"]),
        (["stray"], ["stray"]),
        (["--train.epochs", "0"], ["train.epochs must be at least 1, got 0"]),
    ],
)
def test_a_mistake_is_named_in_one_line_with_exit_code_2(train, capsys, arguments, words):
    code, config = train("--run-dir", "r", *arguments)
    message = capsys.readouterr().err
    assert (code, config) == (2, None)
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert [word for word in words if word not in message] == []


def test_a_missing_option_is_named_in_one_line_with_exit_code_2(train, capsys):
    code, _ = train()
    message = capsys.readouterr().err
    assert code == 2
    assert "--run-dir" in message
    assert message.count("\n") == 1


def test_a_mistake_leaves_nothing_on_standard_output(train, capsys):
    train("--run-dir", "r", "--model.unitz", "5")
    assert capsys.readouterr().out == ""


def test_the_frame_of_a_message_is_taken_away():
    box = "╭─ Parsing error ─╮\n│ first   │\n│ ─────── │\n│  second │\n╰─────────╯\n"
    assert cli.one_line(box) == "first second"
    more = box.replace("│  second │", "│  second │\n│ For full helptext, see a.py --help │")
    assert cli.one_line(more) == "first second"


# Exit codes


def test_success_is_exit_code_0(train):
    assert train("--run-dir", "r") == (0, PRESETS["small"])


def test_help_is_exit_code_0_and_shows_the_options(train, capsys):
    assert train("--help") == (0, None)
    assert "--model.units" in capsys.readouterr().out


def test_a_users_error_is_one_line_with_exit_code_2(fail, capsys):
    assert fail(UserError("expected corpus/train.txt, found none: get it")) == 2
    assert capsys.readouterr().err == "error: expected corpus/train.txt, found none: get it\n"


@pytest.mark.parametrize("name", ["a\nb", "a\r\nb", "a\u2028b"])
def test_a_strange_file_name_stays_on_the_line(fail, capsys, name):
    assert fail(UserError(f"expected a file {name}, found none")) == 2
    assert fail(FileNotFoundError(errno.ENOENT, "No such file or directory", name)) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_with_the_file_and_exit_code_2(fail, capsys, number):
    assert fail(OSError(number, "No space left on device", "runs/a/model.keras")) == 2
    message = capsys.readouterr().err
    assert "free disk space, found none while writing runs/a/model.keras" in message
    assert message.count("\n") == 1


def test_a_full_disk_is_reported_also_when_the_file_is_unknown(fail, capsys):
    assert fail(OSError(errno.ENOSPC, "No space left on device")) == 2
    assert "None" not in capsys.readouterr().err


def test_an_interrupt_is_exit_code_130_without_a_trace(fail, capsys):
    assert fail(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == ""


def unreadable(path: Path) -> Path:
    """A file that exists and cannot be read, not even by root."""
    path.symlink_to("/proc/self/mem")
    return path


def deep(path: Path) -> Path:
    """A path below a file."""
    path.write_text("")
    return path / "a"


def looped(path: Path) -> Path:
    """A link to itself."""
    path.symlink_to(path)
    return path


def through_tensorflow(path: Path) -> None:
    import tensorflow as tf

    tf.io.write_file(str(path), "a")


def through_hdf5(path: Path) -> None:
    import h5py

    h5py.File(path, "w")


def as_the_cause(path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise RuntimeError("a library says something else") from error


FAILURES = {  # what a command does with a path, and what the system says
    "absent": (lambda p: p.read_text(), "No such file or directory"),
    "below a file": (lambda p: files.write_text(deep(p), ""), "Not a directory"),
    "folder below a file": (lambda p: deep(p).mkdir(), "Not a directory"),
    "run below a file": (lambda p: RunDirectory.create(deep(p)), "Not a directory"),
    "300 letters to write": (lambda p: files.write_text(p / ("ä" * 300), ""), "name too long"),
    "300 letters to read": (lambda p: files.read_json(p.parent / ("a" * 300)), "name too long"),
    "300 letters for a run": (lambda p: RunDirectory.create(p / ("a" * 300)), "name too long"),
    "a path of 5000": (lambda p: (p / "/".join(["a" * 100] * 50)).read_bytes(), "name too long"),
    "a folder as JSON": (lambda p: files.read_json(p.parent), "Is a directory"),
    "a folder as text": (lambda p: p.parent.read_text(), "Is a directory"),
    "a loop": (lambda p: looped(p).read_bytes(), "symbolic links"),
    "a loop as a run": (lambda p: RunDirectory.create(looped(p)), "symbolic links"),
    "unreadable": (lambda p: unreadable(p).read_bytes(), "Input/output error"),
    "unreadable JSON": (lambda p: files.read_json(unreadable(p)), "Input/output error"),
    "a pipe nobody reads": (lambda p: (os.mkfifo(p), os.open(p, 2049)), "No such device"),
    "a full folder": (lambda p: (deep(p), p.parent.rmdir()), "not empty"),
    "TensorFlow": (lambda p: through_tensorflow(deep(p)), "Not a directory"),
    "TensorFlow, 300 letters": (lambda p: through_tensorflow(p / ("a" * 300)), "name too long"),
    "HDF5": (lambda p: through_hdf5(p.parent), "Is a directory"),
    "HDF5 below a file": (lambda p: through_hdf5(deep(p)), "Not a directory"),
    "SQLite": (lambda p: sqlite3.connect(p.parent), "unable to open database file"),
    "a cause": (as_the_cause, "No such file or directory"),
    "an index": (lambda p: datasets.official_file(p.parent, "a" * 300, get_it_from=""), "too long"),
    "a descriptor": (lambda p: os.fstat(1000), "Bad file descriptor"),
    "a program": (lambda p: subprocess.run([p]), "No such file or directory"),
    "a network": (lambda p: socket.create_connection(("127.0.0.1", 9)), "refused"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_the_system_refuses_is_one_line_with_exit_code_2(monkeypatch, capsys, tmp_path, name):
    call, reason = FAILURES[name]
    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(SystemExit) as stop:
        cli.run(lambda: call(tmp_path / "a b"))
    message = capsys.readouterr().err
    assert stop.value.code == 2
    assert message.count("\n") == 1
    assert message.startswith("error: expected ")
    assert reason in message


@pytest.mark.parametrize("end", ["closed pipe", "full disk"])
def test_a_failure_of_standard_output_is_one_line_with_exit_code_2(end):
    code = (
        "from common.runs import cli; cli.start_tensorflow_quietly = lambda: None\n"
        "def main(): print('scores')\n"
        "cli.run(main)"
    )
    if end == "full disk":
        output = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, output = os.pipe()
        os.close(reader)
    process = subprocess.run(
        [sys.executable, "-c", code], stdout=output, stderr=subprocess.PIPE, text=True
    )
    os.close(output)
    assert process.returncode == 2
    assert process.stderr.startswith("error: expected ")
    assert process.stderr.count("\n") == 1


def test_an_error_that_is_logged_does_not_end_a_command_but_is_its_exit_code(monkeypatch, capsys):
    def main() -> None:
        logging.getLogger("cellstate").error("error: expected a folder for metrics.json")
        print("scores")

    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(SystemExit) as stop:
        cli.run(main)
    assert (stop.value.code, capsys.readouterr().out) == (2, "scores\n")


@pytest.mark.parametrize("error", [ValueError("ours"), KeyError("ours"), RuntimeError("ours")])
def test_a_defect_of_ours_keeps_its_trace(monkeypatch, error):
    def main() -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(type(error), match="ours") as caught:
        cli.run(main)
    assert caught.traceback[-1].name == "main"


# Files that a command writes


def write(wav: tuple[Path, ...], ctm: cli.OutputFile = None, plot: cli.OutputFile = None) -> None:
    """A command with input and output files."""


@pytest.fixture
def sounds(tmp_path, monkeypatch):
    """A folder with a run, a recording, a folder and a link to each, to name without a path."""
    RunDirectory.create(tmp_path / "run").describe(app="a", config=Config(), seed=1, kernels={})
    names = (
        "vocab_phones.txt",
        "model.keras",
        "history.csv",
        "plot.png",
        "neighbours/features.npy",
    )
    below = ("log/events.jsonl", "checkpoints/model/9/weights.index", "neighbours/features.npy")
    for name in (*names, *below):
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text("trained")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "thesis.txt").write_text("precious")
    (tmp_path / "a.wav").write_text("precious")
    (tmp_path / "old.ctm").write_text("old")
    for name in ("run", "results", "a.wav", "old.ctm"):
        (tmp_path / f"link to {name}").symlink_to(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


NOT_REPLACED = (
    *("results", "results/", "./results/../results", "link to results", ".", "..", "/", "run"),
    *("a.wav", "./a.wav", "results/../a.wav", "link to a.wav", "run/model.keras"),
    *("run/config.json", "run/vocab_phones.txt", "run/history.csv", "link to run/model.keras"),
    *("run/log/events.jsonl", "run/neighbours/features.npy", "run/neighbours"),
    *("run/checkpoints/model/9/weights.index", "run/environment.json", "link to run/plot.png/.."),
)


@pytest.mark.parametrize("option", ["--ctm", "--plot"])
@pytest.mark.parametrize("path", NOT_REPLACED)
def test_a_file_to_write_is_no_folder_no_input_and_no_part_of_a_run(sounds, option, path):
    with pytest.raises(UserError, match="expected a new file or an older one "):
        cli.parse(write, ["--wav", "a.wav", option, path])


@pytest.mark.parametrize(
    "path", ["new.ctm", "old.ctm", "link to old.ctm", "results/a", "new/a", "run/plot.png"]
)
def test_a_new_file_and_an_older_one_may_be_written(sounds, path):
    call = cli.parse(write, ["--wav", "a.wav", "--ctm", path])
    assert call.keywords["ctm"] == Path(path)


@pytest.mark.parametrize("path", ["/proc/a.ctm", "/proc/self/a/b", "a.wav/b", "loop/a", "a" * 300])
def test_a_file_that_cannot_be_written_is_known_before_the_work(sounds, path):
    (sounds / "loop").symlink_to("loop")
    with pytest.raises(OSError, match=r"No such file|Not a dir|symbolic links|name too long"):
        cli.parse(write, ["--wav", "a.wav", "--ctm", path])


def test_two_files_to_write_are_different(sounds):
    with pytest.raises(UserError, match="--ctm"):
        cli.parse(write, ["--wav", "a.wav", "--ctm", "b", "--plot", "./b"])


# Presets and resumed runs


@pytest.mark.parametrize("arguments", [["--preset", "paper"], ["--preset=paper"]])
def test_a_preset_gives_the_defaults(train, arguments):
    assert train("--run-dir", "r", *arguments) == (0, PRESETS["paper"])


def test_a_preset_that_is_not_named_is_chosen_by_the_data():
    seen = []

    def choose(name, root):
        seen.append((name, root))
        return "tiny"

    words = ["--data.name", "own", "--data.root=photos"]
    assert cli.default_config(PRESETS, words, choose) == PRESETS["tiny"]
    assert cli.default_config(PRESETS, [*words, "--preset", "paper"], choose) == PRESETS["paper"]
    assert seen == [("own", Path("photos"))]


def test_a_preset_that_an_app_lacks_is_refused():
    main = cli.train_command(lambda *_, **__: None, Config, PRESETS)
    words = ["--run-dir", "r", "--config", "c.json", "--preset"]
    cli.parse(main, [*words, "tiny"], config=PRESETS["tiny"])
    with pytest.raises(UserError, match="huge"):
        cli.parse(main, [*words, "huge"], config=PRESETS["tiny"])


def test_an_option_goes_over_its_preset(train):
    _, config = train("--run-dir", "r", "--preset", "tiny", "--train.epochs", "7")
    assert config == Config(model=ModelConfig(units=2), train=TrainConfig(epochs=7))


def test_an_option_before_its_preset_goes_over_it_too(train):
    _, config = train("--model.units", "5", "--run-dir", "r", "--preset", "tiny")
    assert config.model.units == 5


@pytest.fixture
def stored(tmp_path):
    config = Config(model=ModelConfig(units=33, fusion="product"))
    run = RunDirectory.create(tmp_path / "run")
    run.describe(app="tagging", config=config, seed=1, kernels={"lstm": "loop"})
    return config


def test_a_resumed_run_takes_its_defaults_from_its_config(train, tmp_path, stored):
    assert train("--run-dir", str(tmp_path / "run"), "--resume") == (0, stored)


def test_an_option_goes_over_the_config_of_a_resumed_run(train, tmp_path, stored):
    _, config = train("--resume", f"--run-dir={tmp_path / 'run'}", "--train.epochs", "9")
    assert config == Config(model=stored.model, train=TrainConfig(epochs=9))


def test_without_resume_the_config_of_an_older_run_counts_nothing(train, tmp_path, stored):
    assert train("--run-dir", str(tmp_path / "run")) == (0, PRESETS["small"])


def test_a_resumed_run_with_a_damaged_config_is_one_line_with_exit_code_2(
    train, capsys, tmp_path, stored
):
    (tmp_path / "run" / "config.json").write_text('{"app": "tag')
    assert train("--run-dir", str(tmp_path / "run"), "--resume") == (2, None)
    message = capsys.readouterr().err
    assert "config.json: expected JSON" in message
    assert message.count("\n") == 1


# Parts


def test_reading_options_calls_nothing_yet():
    calls = []

    def main(number: int) -> None:
        calls.append(number)

    call = cli.parse(main, ["--number", "3"])
    assert calls == []
    call()
    assert calls == [3]


def test_evaluation_names_the_place_of_the_data_as_training_does():
    places = []

    def main(root: cli.DataRoot = None, cache_dir: cli.DataCacheDir = None) -> None:
        places.append((root, cache_dir))

    cli.parse(main, ["--data.root", "a", "--data.cache-dir", "b"])()
    assert places == [(Path("a"), Path("b"))]


def test_progress_gives_the_items_and_is_silent_outside_a_terminal(capsys):
    assert list(cli.progress([1, 2, 3], "reading")) == [1, 2, 3]
    assert capsys.readouterr().err == ""


def test_tensorflow_starts_without_closing_standard_error(capfd):
    cli.start_tensorflow_quietly()
    print("still here", file=sys.stderr, flush=True)
    assert capfd.readouterr().err == "still here\n"


def test_packages_kept_from_keras_at_the_start_can_be_imported_afterwards():
    code = (
        "import sys, importlib.util; from common.runs import cli; cli.start_tensorflow_quietly()\n"
        "names = {'sklearn', 'matplotlib'}\n"
        "assert not names & set(sys.modules) and all(map(importlib.util.find_spec, names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
