"""The run directory: everything that evaluation, prediction and export get from training.

    config.json vocab*.txt model.keras metrics-*.json history.csv log/ checkpoints/ environment.json

Text or `.keras`, never a pickle. Every file is written under a temporary name and renamed, so that
a reader, or a kill at any moment, finds the old file or the new one, never half of one.
"""

import contextlib
import dataclasses
import importlib.metadata
import logging
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import types
import typing
import weakref
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from common.runs import files
from common.runs.errors import UserError, as_line

if TYPE_CHECKING:
    import keras

Config = TypeVar("Config")

_PACKAGES = ("tensorflow", "keras", "numpy", "tensorflow-datasets", "scikit-learn")

# Options that a resumed run may have another value of.
MAY_CHANGE = (
    *("train.epochs", "train.checkpoint_minutes", "train.strategy"),
    "data.service",
    *("data.root", "data.cache_dir", "data.phone_map", "data.pronunciations"),  # may have moved
)

# The files of a run that training and evaluation write, and no option of another command replaces.
_FILES = ("*.json", "*.keras", "vocab*.txt", "history.csv", "log/*", "weights.*", "neighbours/*")


class RunDirectory:
    """One training run on disk, opened by `begin` for training and by `open` after it.

    Where several workers train, all read the run and one of them writes it, see `writes`. That of
    a `dry_run` is a temporary folder.
    """

    def __init__(self, path: Path, *, writes: bool = True):
        self.path, self.writes, self.dry_run = path, writes, False
        self._is_finished = self._is_incomplete = False

    @classmethod
    def begin(
        cls,
        path: Path,
        *,
        app: str,
        config: object,
        resume: bool,
        dry_run: bool = False,
        writes: bool = True,
    ) -> "RunDirectory":
        """A new run, or with `resume` the one in `path`; with `dry_run` one that leaves nothing.

        Raises:
            UserError: see `create` and `resume`.
        """
        if dry_run:
            run = cls(Path(tempfile.mkdtemp()), writes=writes)
            run.dry_run = True
            weakref.finalize(run, shutil.rmtree, run.path)
            return run
        if not writes:
            return cls(path, writes=False)
        return cls.resume(path, app=app, config=config) if resume else cls.create(path)

    @classmethod
    def create(cls, path: Path) -> "RunDirectory":
        """Prepares `path`, which becomes a run with `describe`, called when the data is there.

        Raises:
            UserError: `path` holds more than the log of an attempt that failed.
        """
        if path.exists() and not path.is_dir():
            raise UserError(f"expected a folder for --run-dir, {path} is a file: name another")
        if path.exists() and any(child.name != "log" for child in path.iterdir()):
            what = "another run" if (path / "config.json").exists() else "other files"
            raise UserError(
                f"expected a new or empty folder for --run-dir, {path} holds {what}: "
                "name another folder, or continue a run with --resume"
            )
        run = cls(path)
        run._log_to_file()
        return run

    @classmethod
    def resume(cls, path: Path, *, app: str, config: object) -> "RunDirectory":
        """Continues the run in `path`; only the options in `MAY_CHANGE` may differ from its config.

        Raises:
            UserError: there is no run, it is another app's, or other options differ.
        """
        run = cls.open(path, app=app)
        old, new = _flat(run.read_config(type(config))), _flat(config)
        for name in new:
            if old[name] != new[name] and name not in MAY_CHANGE:
                raise UserError(
                    f"--resume continues {path} with {name} = {old[name]}, got "
                    f"{new[name]}: leave the option out, or start another run"
                )
        run._log_to_file()
        return run

    def describe(self, *, app: str, config: object, seed: int, kernels: Mapping[str, str]) -> None:
        """Writes environment.json, then config.json, which makes the folder a run.

        `kernels` says, by recurrent layer, what computes it (`layers.recurrent.kernels`).
        """
        self.write_json("environment.json", environment(seed=seed, kernels=kernels))
        self.write_json("config.json", {"app": app, **dataclasses.asdict(config)})  # type: ignore[call-overload]

    @classmethod
    def open(cls, path: Path, *, app: str) -> "RunDirectory":
        """Opens an existing run of `app`.

        Raises:
            UserError: `path` is no run directory, or it was made by another app.
        """
        if not (path / "config.json").exists():
            raise UserError(
                f"expected a run directory with config.json, found none in {path}: "
                f"make one with `python -m apps.{app}.train --run-dir {path}`"
            )
        config = _read_options(path / "config.json")
        made_by = config.get("app")
        if made_by != app:
            raise UserError(
                f"expected a run of {app}, {path} holds a run of {made_by}: "
                f"use `python -m apps.{made_by}`, or name a run of {app}"
            )
        return cls(path)

    def read_config(self, config_type: type[Config]) -> Config:
        """The config that the run was made with."""
        return read_config(self.path / "config.json", config_type)

    @contextlib.contextmanager
    def adding(self) -> Iterator[None]:
        """Around what writes to the run; where that fails, results are not lost.

        In a run that `open_run` opened, which may be in a read-only folder, the first failure is
        logged as an error, and the command goes on; it ends with exit code 2. In training every
        failure is raised.
        """
        try:
            yield
        except (OSError, UserError) as error:
            if not self._is_finished:
                raise
            if not self._is_incomplete:
                logging.getLogger("cellstate").error("error: %s", as_line(error))
            self._is_incomplete = True

    def write_text(self, name: str, text: str) -> None:
        """Writes `name` in the run directory, whole or not at all."""
        if self.writes:
            with self.adding():
                files.write_text(self.path / name, text)

    def write_json(self, name: str, value: object) -> None:
        """Writes `name` in the run directory as JSON, whole or not at all."""
        if self.writes:
            with self.adding():
                files.write_json(self.path / name, value)

    def save_model(self, model: "keras.Model", name: str = "model.keras") -> None:
        """Saves a Keras model, whole or not at all."""
        if self.writes:
            with self.adding(), files.replacing(self.path / name) as temporary:
                model.save(temporary)

    def load_model(self, name: str = "model.keras") -> "keras.Model":
        """Loads a saved model without its optimizer, refusing anything that would run code.

        The classes in it must be registered: import `common.layers`, and the module of each layer
        that an app has of its own, first.

        Raises:
            UserError: the training of this run has not saved a model yet, the file is damaged, or
                it holds a class that is not registered.
        """
        import keras

        path = self.path / name
        if not path.exists():
            raise UserError(
                f"expected {path}, found none: the training has not finished an epoch; "
                "continue it with --resume"
            )
        try:
            return keras.saving.load_model(path, compile=False, safe_mode=True)  # type: ignore[return-value]
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            if unknown := re.search(r"Could not locate class '(\w+)'", str(error)):
                raise UserError(
                    f"{path}: expected layers that Keras knows, got {unknown[1]}: first `import "
                    "common.layers`, and the module that defines it where that is in an app"
                ) from None
            first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise UserError(
                f"expected a Keras model in {path}, it cannot be read ({first}): train again"
            ) from error

    def _log_to_file(self) -> None:
        (self.path / "log").mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(
            self.path / "log" / "train.log", encoding="utf-8", errors="backslashreplace"
        )
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logger = logging.getLogger("cellstate")
        logger.setLevel(logging.INFO)  # also where no command line has set it, in a notebook
        for other in [h for h in logger.handlers if isinstance(h, logging.FileHandler)]:
            logger.removeHandler(other)  # a notebook may train several runs in one process
            other.close()
        logger.addHandler(handler)


def open_run(
    path: Path,
    *,
    app: str,
    config_type: type[Config],
    root: Path | None = None,
    cache_dir: Path | None = None,
) -> tuple[RunDirectory, Config]:
    """Opens a run of `app`, and reads the config that it was made with.

    `root` is where the official files are now, if not where training found them, `cache_dir`
    likewise for prepared data.

    Raises:
        UserError: see `RunDirectory.open` and `read_config`.
    """
    run = RunDirectory.open(path, app=app)
    run._is_finished = True
    config: Any = run.read_config(config_type)
    moved = {"root": root or config.data.root, "cache_dir": cache_dir or config.data.cache_dir}
    return run, dataclasses.replace(config, data=dataclasses.replace(config.data, **moved))


def is_part_of_run(path: Path) -> bool:
    """Whether `path`, which is there, is a file that a run consists of."""
    is_run = any((folder / "environment.json").exists() for folder in path.parents[:4])
    return is_run and path.exists() and any(map(path.match, _FILES))


def environment(*, seed: int, kernels: Mapping[str, str] = types.MappingProxyType({})) -> dict:
    """What a repetition needs: versions, commit, seed, hardware, command, kernels."""
    import tensorflow as tf

    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "git_commit": _git_commit(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "seed": seed,
        "platform": platform.platform(),
        "processor": processor(),
        "cpu_count": cpu_count(),
        "gpus": [device.name for device in tf.config.list_physical_devices("GPU")],
        "lstm_kernel": dict(kernels),
    }


def processor() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")  # Linux; `platform.processor` is empty there
    lines = info.read_text(errors="replace").splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def cpu_count() -> int:
    """The processor's cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_config(path: Path, config_type: type[Config]) -> Config:
    """Reads the file `path`, config.json of a run, back into the dataclass that wrote it.

    Options that it lacks have today's defaults: an older version wrote it.

    Raises:
        UserError: the file is damaged, or has options or values that this version has not.
    """
    values = _read_options(path)
    values.pop("app", None)
    unknown: list[str] = []
    try:
        config = _restored(config_type, values, "", unknown)
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: expected options of this version, got others ({error}): use the version "
            "that made the run, or train again"
        ) from None
    if unknown:
        raise UserError(
            f"{path}: expected options of this version, got the unknown "
            f"{', '.join(sorted(unknown))}: use the version that made the run, or train again"
        )
    return config


def _read_options(path: Path) -> dict:
    """The content of a file of options."""
    values = files.read_json(path)
    if not isinstance(values, dict):
        raise UserError(
            f"{path}: expected the options of a run, got {values!r:.40}: get the file again"
        )
    return values


def _restored(cls, values, prefix: str, unknown: list[str]):
    """The (nested, frozen) dataclass `cls` of JSON values; names it lacks go to `unknown`."""
    if not isinstance(values, dict):
        raise ValueError(f"{prefix[:-1]} = {values!r}")
    hints = typing.get_type_hints(cls)
    names = {field.name for field in dataclasses.fields(cls)}
    unknown += [f"{prefix}{name}" for name in values if name not in names]
    return cls(
        **{
            name: _value(hints[name], value, f"{prefix}{name}.", unknown)
            for name, value in values.items()
            if name in names
        }
    )


def _value(hint, value, prefix: str, unknown: list[str]):
    """One value, by its type hint: a dataclass, Path, tuple of these, or `... | None`."""
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        hint = next(option for option in typing.get_args(hint) if option is not types.NoneType)
    if dataclasses.is_dataclass(hint):
        return _restored(hint, value, prefix, unknown)
    if hint is Path:
        return Path(value)
    if typing.get_origin(hint) is tuple:
        kinds = typing.get_args(hint)
        kinds = [kinds[0]] * len(value) if kinds[-1] is ... else kinds
        pairs = zip(kinds, value, strict=True)
        return tuple(_value(kind, item, prefix, unknown) for kind, item in pairs)
    return value


def _flat(config: object, prefix: str = "") -> dict[str, object]:
    """Options by dotted name."""
    flat = {}
    for name, value in vars(config).items():
        nested = dataclasses.is_dataclass(value)
        flat |= _flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return flat


def _git_commit() -> str | None:
    """The commit of this code, with "+changes" when files differ from it; None outside git."""
    root = Path(__file__).parents[2]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=root, text=True, check=True, capture_output=True, timeout=10
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None
