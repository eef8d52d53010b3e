"""Files written whole or not at all: under a temporary name first, then renamed.

A reader, or a kill at any moment, finds the old file or the new one, never half of one. Every
writer goes through `replacing`, which replaces a file by a file only.
"""

import contextlib
import errno
import fcntl
import importlib.util
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from common.runs.errors import UserError

PATTERN = "*?[\\"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lets one process at a time in, for each folder, which is made; the others wait.

    Where the disk has no locks, as some network disks, they do not wait.
    """
    folder.mkdir(parents=True, exist_ok=True)
    opened = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)  # gives it up


@contextlib.contextmanager
def replacing(path: Path, *, is_older: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Gives a path beside `path`, with its suffix; renamed to it on success, else removed.

    Of a link the target is replaced, the link stays.

    Args:
        path: where a file shall be, or with `is_older` a folder.
        is_older: whether a folder is an older one of the same kind, see `require_replaceable`.

    Raises:
        UserError: something is there that may not be replaced.
    """
    path = require_replaceable(path, is_older=is_older)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
            temporary = Path(folder) / path.name
            yield temporary
            _flush_to_disk(temporary)
            temporary.stat()  # nothing was written: the old one stays
            if is_older and path.exists():  # a folder cannot be renamed over a full one
                path.rename(Path(folder) / "old")
            temporary.replace(path)
    except OSError as error:
        # HDF5 reports a full disk without the file, and Keras writes through HDF5.
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if error.errno and ".writing-" in str(error.filename):  # not the name that a user knows
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def require_replaceable(path: Path, *, is_older: Callable[[Path], bool] | None = None) -> Path:
    """Checks that a file may be written to `path`; returns the path without links.

    A file may take the place of a file. With `is_older` it is a folder, and may take that of an
    empty one, or of one for which `is_older` is true.

    Raises:
        UserError: something else is there.
    """
    path = Path(os.path.realpath(path))
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return path
    if is_older is None and not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "something else"
        raise UserError(f"expected a new file or an older one at {path}, got {kind}: name another")
    if is_older and not (path.is_dir() and (is_older(path) or not any(path.iterdir()))):
        raise UserError(
            f"expected a new folder or an older export (with card.json, and nothing else in it) "
            f"at {path}, got something else: name another --output"
        )
    return path


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file, whole or not at all.

    Of a file name that is no UTF-8 the strange bytes are written as JSON has them, `\\udce9`.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: object) -> None:
    """Writes indented JSON, whole or not at all; paths become strings."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def read_json(path: Path):
    """Reads JSON.

    Raises:
        UserError: the file is absent, truncated or not JSON; the message gives line and column.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"expected a file {path}, found none") from None
    except OSError as error:
        raise UserError(f"expected a file {path}, got: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: expected JSON, but it is damaged or cut short ({error}); get the file again"
        ) from None


@contextlib.contextmanager
def without_pattern(path: Path) -> Iterator[Path]:
    """A path to `path` for TensorFlow, which looks for files of variables by a pattern.

    It would take the characters `PATTERN` in a name for one, and find nothing.
    """
    if not set(PATTERN) & set(str(path)):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "link"
        link.symlink_to(path.absolute())
        yield link


def package_folder(module: str, requirement: str) -> Path:
    """The folder of an installed package that carries data, found without running its code.

    Raises:
        UserError: the package is not installed; names the pip line.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"expected the package {requirement}, it is not installed: "
            f"run `pip install {requirement}`"
        )
    return Path(spec.submodule_search_locations[0])


def _flush_to_disk(path: Path) -> None:
    """Without this a power cut could leave a renamed file whose bytes never arrived."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    for file in files:
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
