"""Files written whole or not at all: under a temporary name first, then renamed.

A reader, or a kill at any moment, finds the old file or the new one, never half of one.
"""

import contextlib
import errno
import fcntl
import importlib.util
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from common.runs.errors import UserError


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
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path beside `path`, with its suffix; renamed to it on success, else removed.

    An existing folder at `path` is replaced as a whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        temporary = Path(folder) / path.name
        try:
            yield temporary
            _flush_to_disk(temporary)
            temporary.stat()  # nothing was written: the old one stays
            if path.is_dir():  # a folder cannot be renamed over a full one
                path.rename(Path(folder) / "old")
            temporary.replace(path)
        except OSError as error:
            # HDF5 reports a full disk without the file, and Keras writes through HDF5.
            if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
            raise


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: expected JSON, but it is damaged or cut short ({error}); get the file again"
        ) from None


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
