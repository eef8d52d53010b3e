"""The command line of every app: typed options in, one line and exit code 2 for a user's error.

Nothing here, and nothing an app imports before its options are read, may import TensorFlow:
`--help` and a misspelt option answer in under a second.
"""

import argparse
import contextlib
import functools
import importlib
import io
import itertools
import logging
import logging.handlers
import os
import re
import sys
import tempfile
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import tqdm
import tyro

from common.runs import directory, files
from common.runs.errors import UserError, as_line

logger = logging.getLogger("cellstate")

Item = TypeVar("Item")

# Annotated[Config, cli.FLAT]: its fields are options of their own, `--model.units` rather than
# `--config.model.units`.
FLAT = tyro.conf.arg(name="")

# From --data.name and --data.root to the name of a preset.
PresetChoice = Callable[[str | None, Path | None], str]

# `train --config FILE`; `default_config` has read it before the other options.
ConfigFile = Annotated[Path | None, tyro.conf.arg(name="config")]

# `export --format`: for TensorFlow, or for a smaller runtime (common/export/portable.py).
ExportFormat = Literal["saved_model", "onnx", "onnx_int8", "litert", "litert_int8"]

# A file that a command writes when its work is done; `parse` looks before whether it may.
OutputFile = Annotated[Path | None, "output"]

# `evaluate` names the place of the data as `train` does: --data.root, --data.cache-dir.
DataRoot = Annotated[Path | None, tyro.conf.arg(name="data.root")]
DataCacheDir = Annotated[Path | None, tyro.conf.arg(name="data.cache-dir")]


def run(
    main: Callable[..., None],
    *,
    presets: Mapping[str, object] | None = None,
    choose: PresetChoice | None = None,
    app: str | None = None,
) -> NoReturn:
    """Calls `main` with keywords read from the command line and exits with its code.

    With `presets`, `main` has the keywords `config`, `preset`, `run_dir` and `resume`, and the
    default of `config` is the named preset, or the stored config of the run when it is resumed;
    without a name, the preset is the one that `choose` takes for the data, or "small".
    With `app`, its keyword `run_dir` must be a run of that app.

    Exit codes: 0 success; 2 an error of the user or of the disk (`errors.as_line`), one line on
    standard error, also one that was logged; 130 interrupted. Any other exception is a defect of
    this project and has its stack trace.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.raiseExceptions = False  # a log that cannot be written prints no stack trace
    failures = logging.handlers.BufferingHandler(sys.maxsize)
    failures.setLevel(logging.ERROR)
    logger.setLevel(logging.INFO)
    logger.addHandler(failures)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may be no UTF-8
    try:
        defaults = (
            {} if presets is None else {"config": default_config(presets, sys.argv[1:], choose)}
        )
        call = parse(main, sys.argv[1:], **defaults)
        if app is not None:
            directory.RunDirectory.open(call.keywords["run_dir"], app=app)
        start_tensorflow_quietly()
        call()
        sys.stdout.flush()  # a full disk or a closed pipe fails here, not at the very end
    except Exception as error:
        if (line := as_line(error)) is None:
            raise
        sys.exit(_report(line))
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        logger.removeHandler(failures)
    sys.exit(2 if failures.buffer else 0)


def preset_option(presets: Mapping[str, object]) -> Any:
    """The type of `--preset`, which `default_config` has read before the other options."""
    about = "Where the defaults below come from; small, or what suits the data, if not given."
    return Annotated[Literal[tuple(presets)] | None, tyro.conf.arg(help=about)]


def train_command(
    train: Callable[..., object], config_type: type, presets: Mapping[str, object]
) -> Callable[..., None]:
    """The `main` of an app's train.py, for its `train(config, run_dir, *, resume, dry_run)`."""

    def main(
        *,
        run_dir: Path,
        config: Annotated[config_type, FLAT],  # pyright: ignore[reportInvalidTypeForm]
        preset: preset_option(presets) = None,  # pyright: ignore[reportInvalidTypeForm]
        config_file: ConfigFile = None,
        resume: bool = False,
        dry_run: bool = False,
    ) -> None:
        """Trains on a data set and writes a run directory.

        Args:
            run_dir: New folder for the run.
            config: All options.
            config_file: A JSON file that they come from instead: a run's, or the best of `tune`.
            resume: Continue the run in --run-dir with its own options.
            dry_run: Take two steps, print the layers and the expected minutes, and leave nothing.
        """
        train(config, run_dir, resume=resume, dry_run=dry_run)

    return main


def evaluate_command(evaluate: Callable[..., Any]) -> Callable[..., None]:
    """The `main` of an evaluate.py whose `evaluate` has no options of its own."""

    def main(
        *,
        run_dir: Path,
        split: Literal["validation", "test"] = "validation",
        data_root: DataRoot = None,
        data_cache_dir: DataCacheDir = None,
        json: bool = False,
    ) -> None:
        """ABOUT.

        Args:
            run_dir: Folder that `train` wrote.
            split: Which part of the data.
            data_root: Folder with the official files, if it moved since training.
            data_cache_dir: Where prepared data is kept, if it moved.
            json: Print one JSON object instead of a table.
        """
        result = evaluate(run_dir, split, root=data_root, cache_dir=data_cache_dir)
        print(result.as_json() if json else result.as_table())

    return _described(main, evaluate)


def export_command(export: Callable[..., Path]) -> Callable[..., None]:
    """The `main` of an app's export.py, for its `export(run_dir, output, *, format)`."""

    def main(
        *, run_dir: Path, output: Path | None = None, format: ExportFormat = "saved_model"
    ) -> None:
        """ABOUT.

        Args:
            run_dir: Folder that `train` wrote.
            output: Folder to write; RUN_DIR/FORMAT by default.
            format: For TensorFlow, or for ONNX Runtime or LiteRT, also with matrices in eight bits.
        """
        print(export(run_dir, output, format=format))

    return _described(main, export)


def _described(main: Callable[..., None], verb: Callable) -> Callable[..., None]:
    """`main`, whose help begins with the first line of the module that `verb` is from."""
    about = (sys.modules[verb.__module__].__doc__ or "").split("\n")[0]
    main.__doc__ = (main.__doc__ or "").replace("ABOUT.", about)
    return main


def parse(main: Callable[..., None], arguments: list[str], **defaults: object) -> functools.partial:
    """Reads `arguments` for the keywords of `main` and returns the call, not yet made.

    Raises:
        UserError: an option is unknown (with the nearest known ones), missing or of the wrong type,
            or an `OutputFile` would replace something else than an older one.
        OSError: an `OutputFile` cannot be written.
    """

    @functools.wraps(main)
    def call_later(*positional, **keywords) -> functools.partial:
        return functools.partial(main, *positional, **keywords)

    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message):
            call = tyro.cli(functools.partial(call_later, **defaults), args=arguments)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UserError(one_line(message.getvalue())) from None
    _check_outputs(main, call.keywords)
    return call


def _check_outputs(main: Callable[..., None], options: Mapping[str, object]) -> None:
    hints = typing.get_type_hints(main, include_extras=True)
    for name, path in options.items():
        if hints.get(name) == OutputFile and isinstance(path, Path):
            target = files.require_replaceable(path)
            folder = next(parent for parent in target.parents if parent.exists())
            tempfile.TemporaryFile(dir=folder).close()  # one may write there
            others = [value for other, value in options.items() if other != name]
            if target in _paths(others) or directory.is_part_of_run(target):
                raise UserError(
                    f"expected a new file or an older one for --{name}, got {path}, which this "
                    "command reads or another wrote: name another"
                )


def _paths(value: object) -> Iterator[Path]:
    """All paths in nested tuples and lists, without links."""
    if isinstance(value, tuple | list):
        yield from itertools.chain.from_iterable(map(_paths, value))
    elif isinstance(value, Path):
        yield Path(os.path.realpath(value))


def progress(items: Iterable[Item], label: str) -> Iterable[Item]:
    """The items, with a progress bar on standard error when that is a terminal."""
    return tqdm.tqdm(items, desc=label, disable=None, leave=False)


def read_each(paths: Sequence[Path], read: Callable[[Path], Item]) -> Iterator[tuple[Path, Item]]:
    """Each path with what `read` makes of it; of several, a bad one is named and left out.

    Raises:
        UserError, OSError: the only one cannot be read, or none can.
    """
    num_read = 0
    for path in paths:
        try:
            content = read(path)
        except (OSError, UserError) as error:
            if len(paths) == 1:
                raise
            logger.warning("note: leaves out %s: %s", path, as_line(error))
        else:
            num_read += 1
            yield path, content
    if not num_read:
        raise UserError(f"expected files that can be used, none of {len(paths)} can: name others")


def bars() -> int:
    """`verbose` for Keras: progress bars when standard output is a terminal."""
    return int(sys.stdout.isatty())


def one_line(box: str) -> str:
    """The text of tyro's framed message as a single line, without frame, title and last sentence.

    >>> one_line("╭─ Wrong ─╮\\n│ got 'a',   │\\n│ expected 1 │\\n╰────╯")
    "got 'a', expected 1"
    """
    body = box.split("\n", 1)[-1] if "╭" in box else box
    line = re.sub(r"\s+", " ", re.sub(r"[╭╮╰╯│─]+", " ", body)).strip()
    return re.sub(r" For full helptext, see .*--help$", "", line)


def default_config(
    presets: Mapping[str, object], arguments: list[str], choose: PresetChoice | None = None
) -> object:
    """The preset or file that `arguments` name, or the stored config of the run they resume.

    Raises:
        UserError: the file cannot be read, or holds no options of this app.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("--preset")
    early.add_argument("--data.name", dest="name")
    early.add_argument("--data.root", dest="root", type=Path)
    early.add_argument("--config", type=Path)
    early.add_argument("--run-dir", "--run_dir", type=Path)
    early.add_argument("--resume", action="store_true")
    try:
        options, _ = early.parse_known_args(arguments)
    except argparse.ArgumentError:  # e.g. `--preset` without a value: the full parser explains it
        return presets["small"]
    path = options.config
    if options.resume and options.run_dir and (options.run_dir / "config.json").exists():
        path = options.run_dir / "config.json"
    if path is not None:
        return directory.read_config(path, type(presets["small"]))
    name = options.preset or (choose(options.name, options.root) if choose else "small")
    return presets.get(name, presets["small"])  # the full parser refuses a name that there is not


def start_tensorflow_quietly() -> None:
    """Imports TensorFlow without its start-up lines, which hide the one that a user has to read."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "TF_CONFIG" in os.environ:
        # A worker's share of a batch may be empty: in TensorFlow 2.21 on CPUs oneDNN's convolutions
        # have the wrong number of channels then, and its pooling ends the process.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    logging.getLogger("absl").setLevel(logging.ERROR)
    # Keras imports these two for features that no command uses: a third of the whole start.
    # None in sys.modules makes its `import` fail, which it allows for.
    hidden = [name for name in ("matplotlib", "sklearn") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # pyright: ignore
    standard_error = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # they come from C++, past sys.stderr
    try:
        importlib.import_module("tensorflow")
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)
        for name in hidden:
            del sys.modules[name]


def _report(message: str) -> int:
    print("error:", " ".join(message.splitlines()), file=sys.stderr)  # names may have line breaks
    try:
        sys.stdout.flush()
    except OSError:  # Python would try it again at its end, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 2
