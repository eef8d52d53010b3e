"""Files written whole or not at all: under a temporary name first, then renamed; text read.

A reader, or a kill at any moment, finds the old file or the new one, never half of one. Every
writer goes through `replacing`, which replaces a file by a file only.
"""

import codecs
import contextlib
import errno
import fcntl
import gzip
import importlib.util
import json
import os
import re
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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


def read_text(path: Path, *, errors: str = "strict") -> str:
    """The text of a file that may be packed by gzip, see `decode_text`.

    Raises:
        UserError: the file is absent, damaged, or no such text.
    """
    try:
        encoded = path.read_bytes()
        if path.suffix == ".gz":
            encoded = gzip.decompress(encoded)
    except FileNotFoundError:
        raise UserError(f"expected a text file {path}, found none") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"expected a text file {path}, it cannot be read: {reason}") from None
    return decode_text(encoded, str(path), errors=errors)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without their ends; see `read_text`.

    Only line breaks of files end a line: U+0085, U+2028 and the like are text.
    """
    lines = read_text(path).split("\n")
    return lines if lines[-1] else lines[:-1]


def decode_text(encoded: bytes, name: str, *, errors: str = "strict") -> str:
    """Text as other programs write it, UTF-8, or UTF-16 with a byte order mark.

    The mark is left out, and every line ends in "\\n" alone. `errors` as for `bytes.decode`.

    Raises:
        UserError: other bytes; says where in the file `name`.
    """
    wide = encoded.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = encoded.decode("utf-16" if wide else "utf-8-sig", errors)
    except UnicodeDecodeError as error:
        number = encoded.count(b"\n", 0, error.start) + 1
        column = error.start - encoded.rfind(b"\n", 0, error.start) - 1
        raise UserError(
            f"{name}:{number}: expected UTF-8 text, got other bytes ({error.reason} at byte "
            f"{column} of the line): save the file as UTF-8"
        ) from None
    return re.sub("\r+\n|\r", "\n", text) if "\r" in text else text


def read_json(path: Path, like: object = None):
    """Reads JSON; where `like` is a sample, JSON of its structure (see `mismatch`).

    Raises:
        UserError: the file is absent, truncated or not JSON, with line and column; or it has
            another structure, with the place.
    """
    try:
        value = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(
            f"{path}: expected JSON, but it is damaged or cut short ({error}); get the file again"
        ) from None
    if like is not None and (problem := mismatch(value, like)):
        raise UserError(f"{path}: {problem}: get the file again")
    return value


def read_json_rows(
    path: Path, key: str, like: dict, *, get_it_from: str
) -> Iterator[tuple[str, dict, str | None]]:
    """The objects of the list under `key`: where each stands, the object, its `mismatch`.

    Objects have the structure of `like` in any case: what differs is blank.

    Raises:
        UserError: as `read_json`; there is no such list, or it is empty.
    """
    stored = read_json(path)
    rows = stored.get(key) if isinstance(stored, dict) else None
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path}: expected a list under {key!r}: get it from {get_it_from}")
    for number, row in enumerate(rows):
        where = f"{path}, {key}[{number}]"
        yield where, repaired(row, like), mismatch(row, like)


def mismatch(value: object, like: object, place: str = "") -> str | None:
    """Where and how a JSON value differs from the structure of a sample, or None.

    >>> mismatch({"id": 1, "texts": ["a", None]}, {"id": 0, "texts": [""]})
    'expected text at .texts[1], got null'

    Args:
        value: any JSON value; an object may have more names than the sample.
        like: "" stands for text, 0 for a whole number, 0.0 for any number, {...} for an object with
            these names, [x] for a list of such values, [] for any list.
        place: of the value.
    """
    kinds = (int, float) if type(like) is float else (type(like),)
    halved = isinstance(value, str) and not value.isascii() and _HALF.search(value)
    if type(value) not in kinds or halved:  # `type`: True is no whole number
        at = f" at {place}" if place else ""
        return f"expected {_KINDS[type(like)]}{at}, got {json.dumps(value)[:60]}"
    inner: Iterator[tuple] = iter(())
    if isinstance(value, dict) and isinstance(like, dict):
        inner = ((value.get(name), part, f"{place}.{name}") for name, part in like.items())
    elif isinstance(value, list) and isinstance(like, list) and like:
        inner = ((part, like[0], f"{place}[{number}]") for number, part in enumerate(value))
    return next(filter(None, (mismatch(*each) for each in inner)), None)


def repaired(value: object, like: Any) -> Any:
    """The value with the structure of `like`: blank where it has a `mismatch`."""
    if isinstance(like, dict):
        stored = value if isinstance(value, dict) else {}
        return stored | {name: repaired(stored.get(name), part) for name, part in like.items()}
    return (type(like)() if isinstance(like, list) else like) if mismatch(value, like) else value


_KINDS = {str: "text", int: "a whole number", float: "a number", list: "a list", dict: "an object"}
_HALF = re.compile("[\ud800-\udfff]")  # of a character: no file can hold it


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
