"""Facts about the command line: what a person types, and the line and exit code that come back."""

import errno
import logging
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest

from common.runs import cli
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


@pytest.mark.parametrize(
    "error", [ValueError("ours"), KeyError("ours"), PermissionError(errno.EACCES, "ours")]
)
def test_a_defect_of_ours_keeps_its_trace(monkeypatch, error):
    def main() -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(type(error), match="ours") as caught:
        cli.run(main)
    assert caught.traceback[-1].name == "main"


# Presets and resumed runs


@pytest.mark.parametrize("arguments", [["--preset", "paper"], ["--preset=paper"]])
def test_a_preset_gives_the_defaults(train, arguments):
    assert train("--run-dir", "r", *arguments) == (0, PRESETS["paper"])


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
