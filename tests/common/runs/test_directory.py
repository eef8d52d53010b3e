"""Facts about the run directory: whole files, round trips, clear refusals."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import pytest

from common.export import card
from common.runs import directory, files
from common.runs.directory import RunDirectory
from common.runs.errors import UserError
from common.runs.files import replacing

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, kw_only=True)
class Crop:
    height: int = 2
    steps: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    units: int = 8
    channels: tuple[int, ...] = (4, 8)
    weights: Path | None = None
    fusion: Literal["sum", "product"] = "sum"
    crop: Crop = field(default_factory=Crop)

    def __post_init__(self):
        if self.units < 1:
            raise ValueError(f"model.units must be at least 1, got {self.units}")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    root: Path | None = None
    cache_dir: Path | None = None
    files: tuple[Path, ...] = ()
    crop: Crop | None = None
    share: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Config:
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    epochs: int = 3


@pytest.fixture(autouse=True)
def close_logs():
    yield
    logger = logging.getLogger("cellstate")
    for handler in list(logger.handlers):
        if isinstance(handler, logging.FileHandler):
            logger.removeHandler(handler)
            handler.close()


def make_run(path: Path, config: Config | None = None, *, app: str = "tagging") -> RunDirectory:
    run = RunDirectory.create(path)
    run.describe(app=app, config=config or Config(), seed=1, kernels={"lstm": "loop"})
    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Writing whole or not at all


def test_a_file_is_there_only_when_it_is_written(tmp_path):
    path = tmp_path / "a" / "b" / "model.keras"
    for content in ("old", "é"):
        with replacing(path) as temporary:
            temporary.write_text(content)
            assert temporary.suffix == ".keras"
            assert path.exists() == (content != "old")
    assert path.read_bytes() == "é".encode()
    assert names(path.parent) == ["model.keras"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    files.write_text(tmp_path / "a.txt", "old")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_replaces_an_older_one_as_a_whole(tmp_path):
    for name in ("old", "new"):
        with replacing(tmp_path / "export", is_older=Path.is_dir) as folder:
            (folder / "sub").mkdir(parents=True)
            (folder / "sub" / name).write_text(name)
    assert names(tmp_path / "export" / "sub") == ["new"]
    assert names(tmp_path) == ["export"]


def test_a_failure_leaves_the_old_folder_whole(tmp_path):
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "old").write_text("old")
    with (
        pytest.raises(ZeroDivisionError),
        replacing(tmp_path / "export", is_older=Path.is_dir) as folder,
    ):
        folder.mkdir()
        raise ZeroDivisionError
    assert names(tmp_path / "export") == ["old"]


def test_a_folder_stays_when_nothing_was_written_in_its_place(tmp_path):
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "old").write_text("old")
    with (
        pytest.raises(FileNotFoundError),
        replacing(tmp_path / "export", is_older=Path.is_dir),
    ):
        pass
    assert names(tmp_path / "export") == ["old"]


def test_a_kill_while_writing_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    endless = (
        "import pathlib, sys\n"
        "from common.runs import files\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "with files.replacing(path) as temporary, temporary.open('w') as file:\n"
        "    while True:\n"
        "        file.write('half ' * 10_000)\n"
        "        print(flush=True)\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", endless, str(path)], cwd=ROOT, stdout=subprocess.PIPE
    )
    for _ in range(20):  # it is in the middle of its file now
        writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert path.read_text() == "old"
    assert [p.stat().st_size > 0 for p in tmp_path.rglob(".writing-*/a.txt")] == [True]


def test_a_full_disk_leaves_the_old_file_and_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        files.write_text(path, "new")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_full_disk_is_known_also_by_the_words_of_hdf5(tmp_path):
    with pytest.raises(OSError) as caught, replacing(tmp_path / "a.keras"):
        raise OSError("Can't write data (error message = 'No space left on device')")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "a.keras"))


def test_other_failures_of_the_disk_stay_as_they_are(tmp_path):
    with pytest.raises(PermissionError), replacing(tmp_path / "a.txt"):
        raise PermissionError(errno.EACCES, "Permission denied")


# What may be replaced


def put(path: Path, kind: str) -> None:
    """Something at `path`: nothing, a file, a folder ..., a link to one of these."""
    if kind.startswith("link to "):
        put(path.with_name(f"{path.name} target"), kind.removeprefix("link to "))
        path.symlink_to(f"{path.name} target")
    elif kind == "file":
        path.write_text("precious")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind != "nothing":
        path.mkdir()
    for name in CONTENTS.get(kind, ()):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("precious")


SAVED_MODEL = ("saved_model.pb", "variables/variables.index", "assets.extra/card.json")
RUNTIME = ("model.onnx", "runtime.py", "vocab_words.txt", "settings.json", "card.json")
CONTENTS = {
    "results": ("thesis.txt",),
    "run": ("config.json", "model.keras", "log/train.log"),
    "SavedModel": SAVED_MODEL,
    "SavedModel with examples": (*SAVED_MODEL, "assets.extra/examples.json", "assets.extra/0.png"),
    "SavedModel with requests": (*SAVED_MODEL, "assets.extra/tf_serving_warmup_requests"),
    "SavedModel with a thesis": (*SAVED_MODEL, "thesis.txt"),
    "SavedModel with a run": (*SAVED_MODEL, "variables/run/config.json"),
    "SavedModel without card": SAVED_MODEL[:-1],
    "runtime": RUNTIME,
    "runtime that was called": (*RUNTIME, "__pycache__/runtime.cpython-311.pyc"),
    "runtime with a package": (*RUNTIME, "mine/runtime.py"),
    "runtime without card": RUNTIME[:-1],
    "run with a card": ("config.json", "card.json"),
}
KINDS = ("nothing", "file", "pipe", "loop", "empty folder", *CONTENTS)
KINDS += tuple(f"link to {kind}" for kind in KINDS if kind not in ("loop", "pipe"))
BY_FILE = {"nothing", "file"}
BY_EXPORT = {"nothing", "empty folder", "SavedModel", "SavedModel with examples"}
BY_EXPORT |= {"runtime", "runtime that was called"}


def tree(folder: Path) -> dict[str, object]:
    """Everything below a folder, with what links and files hold."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink()
        else path.read_bytes() if path.is_file() else path.lstat().st_mode
        for path in folder.rglob("*")
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("new", ["file", "export"])
def test_a_file_takes_the_place_of_a_file_and_an_export_that_of_an_export(tmp_path, new, kind):
    path = tmp_path / "results"
    put(path, kind)
    before = tree(tmp_path)
    is_older, replaceable = (None, BY_FILE) if new == "file" else (card.is_export, BY_EXPORT)

    def write():
        with replacing(path, is_older=is_older) as temporary:
            if is_older:
                temporary.mkdir()
            (temporary / "card.json" if is_older else temporary).write_text("new")

    if kind.removeprefix("link to ") in replaceable:
        write()
        assert (path / "card.json" if is_older else path).read_text() == "new"
        assert path.is_symlink() == kind.startswith("link to ")
        assert path.is_file() or names(path) == ["card.json"]
    else:
        with pytest.raises(UserError, match=r"expected a new .*, got .*: name another"):
            write()
        assert tree(tmp_path) == before


@pytest.mark.parametrize("draw", range(30))
def test_a_run_and_what_holds_it_stay_whatever_name_an_export_is_given(tmp_path, draw, monkeypatch):
    """Spelled by random steps down, up, through links and on the spot, absolute or relative."""
    put(tmp_path / "runs", "empty folder")
    put(tmp_path / "runs" / "a", "run")
    (tmp_path / "runs" / "latest").symlink_to("a")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "runs")
    before, random = tree(tmp_path), np.random.default_rng(draw)
    monkeypatch.chdir(tmp_path / random.choice(["", "runs", "runs/a"]))
    path = str(tmp_path) if random.random() < 0.5 else "."
    for _ in range(random.integers(7)):
        down = [entry.name for entry in Path(path).iterdir() if entry.is_dir()]
        steps = [*down, *down, "..", ".", ""]
        if Path(path).resolve() == tmp_path:
            steps.remove("..")
        path += f"/{random.choice(steps)}"
    target = Path(path).resolve()
    assert target in (tmp_path, *tmp_path.rglob("*"))
    for is_older in (card.is_export, None):
        with pytest.raises(UserError), replacing(Path(path), is_older=is_older):
            raise AssertionError("it may be written")
    assert tree(tmp_path) == before


# JSON


def test_json_comes_back_as_it_was_written(tmp_path):
    value = {"a": [1, 2.5, None, True], "é": {"b": "日本"}}
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json") == value


def test_json_is_readable_utf8_with_paths_as_text(tmp_path):
    files.write_json(tmp_path / "a.json", {"é": Path("/b")})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "é": "/b"\n}\n'


@pytest.mark.parametrize("content", [b"", b'{"a": [1, 2', b"{'a': 1}", b"[" * 9999])
def test_damaged_json_is_refused_by_name(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json: expected JSON, but it is damaged"):
        files.read_json(tmp_path / "a.json")


def test_missing_json_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match=r"a\.json, found none"):
        files.read_json(tmp_path / "a.json")


# Beginning, continuing and opening a run


def test_a_new_folder_becomes_a_run_when_it_is_described(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    assert names(run.path) == ["log"]
    run.describe(app="tagging", config=Config(), seed=1, kernels={"lstm": "loop"})
    assert names(run.path) == ["config.json", "environment.json", "log"]


def test_a_second_attempt_may_use_the_folder_of_one_that_never_began(tmp_path):
    RunDirectory.create(tmp_path / "run")
    assert make_run(tmp_path / "run").read_config(Config) == Config()


def test_a_folder_with_another_run_is_refused(tmp_path):
    make_run(tmp_path / "run")
    with pytest.raises(UserError, match=r"holds another run: name another folder, or .* --resume"):
        RunDirectory.create(tmp_path / "run")


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match=r"expected a new or empty folder.*holds other files"):
        RunDirectory.create(tmp_path)
    assert names(tmp_path) == ["thesis.tex"]


def test_a_file_is_no_folder_for_a_run(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match=r"expected a folder for --run-dir, .*run is a file"):
        RunDirectory.create(tmp_path / "run")


def test_the_log_goes_to_the_run_that_was_begun_last(tmp_path):
    first, second = (RunDirectory.create(tmp_path / name) for name in ("a", "b"))
    logging.getLogger("cellstate").info("hello")
    assert "hello" not in (first.path / "log" / "train.log").read_text()
    assert "hello" in (second.path / "log" / "train.log").read_text()


def test_a_run_is_opened_by_its_app(tmp_path):
    make_run(tmp_path / "run")
    assert RunDirectory.open(tmp_path / "run", app="tagging").read_config(Config) == Config()


def test_a_run_is_opened_with_its_data_where_it_is_now(tmp_path):
    config = Config(data=DataConfig(root=Path("/old"), cache_dir=Path("/cache")), epochs=9)
    make_run(tmp_path / "run", config)
    options = {"app": "tagging", "config_type": Config}
    run, moved = directory.open_run(tmp_path / "run", **options, root=Path("/new"))
    assert run.path == tmp_path / "run"
    assert moved == replace(config, data=replace(config.data, root=Path("/new")))
    assert directory.open_run(tmp_path / "run", **options)[1] == config


@pytest.mark.parametrize("name", ["", "absent", "file"])
def test_what_is_no_run_is_refused_with_the_command_that_makes_one(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"found none in .*python -m apps\.tagging\.train --run"):
        RunDirectory.open(tmp_path / name, app="tagging")


def test_a_run_of_another_app_is_refused_with_both_names(tmp_path):
    make_run(tmp_path / "run", app="ranking")
    with pytest.raises(UserError, match=r"a run of tagging, .* holds a run of ranking"):
        RunDirectory.open(tmp_path / "run", app="tagging")


@pytest.mark.parametrize("content", ["[]", "null", '{"app": "tagg'])
def test_a_run_with_a_damaged_config_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config"):
        RunDirectory.open(tmp_path, app="tagging")


@pytest.fixture(autouse=True)
def epochs_may_change(monkeypatch):
    monkeypatch.setattr(directory, "MAY_CHANGE", ("epochs",))


def resume(path: Path, config: Config) -> RunDirectory:
    return RunDirectory.resume(path, app="tagging", config=config)


def test_a_run_continues_with_the_options_it_was_begun_with(tmp_path):
    config = Config(data=DataConfig(root=Path("/corpus")))
    make_run(tmp_path / "run", config)
    assert resume(tmp_path / "run", config).path == tmp_path / "run"


def test_a_run_continues_with_options_that_may_change(tmp_path):
    make_run(tmp_path / "run")
    assert resume(tmp_path / "run", replace(Config(), epochs=9)).path == tmp_path / "run"


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (Config(model=ModelConfig(units=16)), r"model\.units = 8, got 16"),
        (Config(data=DataConfig(root=Path("/b"))), r"data\.root = None, got /b"),
        (Config(model=ModelConfig(crop=Crop(height=5))), r"model\.crop\.height = 2, got 5"),
    ],
)
def test_a_run_does_not_continue_with_another_option(tmp_path, config, named):
    make_run(tmp_path / "run")
    with pytest.raises(UserError, match=named):
        resume(tmp_path / "run", config)


def test_options_of_one_name_in_two_places_are_told_apart(tmp_path):
    config = Config(data=DataConfig(crop=Crop(height=9)))
    make_run(tmp_path / "run", config)
    with pytest.raises(UserError, match=r"model\.crop\.height = 2, got 5"):
        resume(tmp_path / "run", replace(config, model=ModelConfig(crop=Crop(height=5))))


# Configs


@pytest.mark.parametrize(
    "config",
    [
        Config(),
        Config(model=ModelConfig(weights=Path("/w.h5"), channels=(), fusion="product")),
        Config(data=DataConfig(root=Path("relative/é"), share=1e-7)),
        Config(data=DataConfig(files=(Path("/a"), Path("/b")))),
        Config(data=DataConfig(crop=Crop(steps=((5, 6),)))),
    ],
)
def test_a_config_comes_back_equal(tmp_path, config):
    make_run(tmp_path / "run", config)
    assert directory.read_config(tmp_path / "run" / "config.json", Config) == config


def changed_config(path: Path, change) -> Path:
    """config.json of a run, as another version would have written it."""
    make_run(path, Config(model=ModelConfig(units=16), epochs=9))
    stored = json.loads((path / "config.json").read_text())
    change(stored)
    (path / "config.json").write_text(json.dumps(stored))
    return path / "config.json"


def test_options_that_an_older_version_lacked_have_todays_defaults(tmp_path):
    def lacks(stored):
        del stored["epochs"], stored["data"], stored["model"]["channels"]

    path = changed_config(tmp_path / "run", lacks)
    config = Config(model=ModelConfig(units=16))
    assert directory.read_config(path, Config) == config
    assert resume(tmp_path / "run", config).path == tmp_path / "run"


def test_options_that_are_unknown_are_named_with_their_place(tmp_path):
    def has_more(stored):
        stored["speed"] = 3
        stored["model"]["crop"]["depth"] = 1

    path = changed_config(tmp_path / "run", has_more)
    with pytest.raises(
        UserError, match=r"config\.json: .* got the unknown model\.crop\.depth, speed: use"
    ):
        directory.read_config(path, Config)


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: stored["model"].update(units=0),
        lambda stored: stored["model"].update(crop={"steps": [[1, 2, 3]]}),
        lambda stored: stored.update(model=7),
        lambda stored: stored.update(model=[1]),
    ],
)
def test_values_that_do_not_fit_are_refused(tmp_path, change):
    path = changed_config(tmp_path / "run", change)
    with pytest.raises(UserError, match=r"config\.json: expected options of this version"):
        directory.read_config(path, Config)


def test_the_environment_names_what_a_repetition_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/train.py", "--run-dir", "r ?"])
    make_run(tmp_path / "run")
    stored = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert (stored["command"], stored["seed"], stored["lstm_kernel"]) == (
        "train.py --run-dir 'r ?'", 1, {"lstm": "loop"}
    )  # fmt: skip
    assert stored["packages"]["keras"] == keras.__version__
    assert stored["python"] == ".".join(map(str, sys.version_info[:3]))


# Models


@pytest.fixture(scope="module")
def model() -> keras.Model:
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(2)(inputs))


def test_a_saved_model_comes_back_with_its_weights(tmp_path, model):
    run = RunDirectory(tmp_path)
    run.save_model(model)
    inputs = np.ones((1, 3), "float32")
    np.testing.assert_array_equal(run.load_model()(inputs), model(inputs))


def test_a_model_that_is_not_there_yet_says_how_to_get_it(tmp_path):
    with pytest.raises(UserError, match=r"model\.keras, found none: .* --resume"):
        RunDirectory(tmp_path).load_model()


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.6, 0.99])
def test_a_model_file_cut_short_is_refused_by_name(tmp_path, model, keep):
    run = RunDirectory(tmp_path)
    run.save_model(model)
    content = (tmp_path / "model.keras").read_bytes()
    (tmp_path / "model.keras").write_bytes(content[: int(keep * len(content))])
    with pytest.raises(UserError, match=r"expected a Keras model in .*model\.keras"):
        run.load_model()


@pytest.mark.parametrize("member", ["config.json", "model.weights.h5"])
def test_a_model_file_with_changed_bytes_is_refused_by_name(tmp_path, model, member):
    run = RunDirectory(tmp_path)
    run.save_model(model)
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
        start = info.header_offset + 30 + len(member) + info.compress_size // 2
    content = bytearray(path.read_bytes())
    content[start : start + 8] = bytes(255 - byte for byte in content[start : start + 8])
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"expected a Keras model in .*model\.keras"):
        run.load_model()


def with_config(path: Path, change) -> None:
    """Writes a model file whose config is another one."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change(config)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_a_model_file_with_python_code_is_refused(tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: 2 * x)(inputs))
    run = RunDirectory(tmp_path)
    run.save_model(model)
    with pytest.raises(UserError, match=r"expected a Keras model in .*model\.keras"):
        run.load_model()


def test_a_model_file_that_names_a_function_of_the_system_does_not_run_it(tmp_path, model):
    run, trace = RunDirectory(tmp_path), tmp_path / "trace"
    run.save_model(model)

    def call_the_system(config):
        config["config"]["layers"][1] = {
            "module": "os", "class_name": "function", "registered_name": "function",
            "name": "dense", "inbound_nodes": [{"args": [f"touch {trace}"], "kwargs": {}}],
            "config": {"fn": {"module": "os", "class_name": "function", "config": "system",
                              "registered_name": "system"}, "arguments": {}},
        }  # fmt: skip

    with_config(tmp_path / "model.keras", call_the_system)
    with pytest.raises(UserError, match=r"expected a Keras model in .*model\.keras"):
        run.load_model()
    time.sleep(0.1)
    assert not trace.exists()


def test_a_model_file_with_an_unknown_layer_is_refused(tmp_path, model):
    run = RunDirectory(tmp_path)
    run.save_model(model)

    def rename(config):
        config["config"]["layers"][1] |= {
            "module": "somewhere", "class_name": "Gone", "registered_name": "cellstate>Gone"
        }  # fmt: skip

    with_config(tmp_path / "model.keras", rename)
    with pytest.raises(
        UserError, match=r"model\.keras: .* got Gone: first `import common\.layers`"
    ):
        run.load_model()
