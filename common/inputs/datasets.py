"""Prepares data sets with tensorflow-datasets: offline, once, counted, in the user's cache.

An app's `datasets.py` holds the builders; this module runs them and keeps the account of broken
rows.
"""

import contextlib
import hashlib
import io
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common.runs import files
from common.runs.errors import UserError

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

logger = logging.getLogger("cellstate")

MAX_BROKEN = 0.01  # a share above it means the wrong files, not a few bad rows
_NAMED = 5  # broken rows that the log lists
_LISTED = 100  # where they stop the preparation


class BrokenRows:
    """Counts rows that cannot be used, and gives up when more than `max_share` of them are."""

    def __init__(self, source: str, *, max_share: float = MAX_BROKEN):
        self.source = source
        self.max_share = max_share
        self.num_rows = 0
        self.skipped: list[str] = []

    def use(self, where: str, problem: str | None) -> bool:
        """Counts a row; True when it has no `problem`, else the log names it and it is skipped."""
        self.num_rows += 1
        if problem is not None:
            self.skipped.append(f"{where}: {problem}")
        return problem is None

    def check(self) -> None:
        """Raises UserError when too many of the rows are broken; call it after the last row."""
        if len(self.skipped) > self.max_share * self.num_rows:
            for row in self.skipped[:_LISTED]:
                logger.info("%s: %s", self.source, row)
            raise UserError(
                f"{self.source}: expected at most {self.max_share:.0%} broken rows, got "
                f"{len(self.skipped)} of {self.num_rows}, the first is "
                f"{self.skipped[0]}: correct or remove them"
            )


def official_file(root: Path | None, name: str, *, get_it_from: str) -> Path:
    """The path of a file of a published data set under the user's `--data.root`.

    Upper and lower case are taken as equal when the exact name is absent.

    Raises:
        UserError: no root was given, or the file is not in it.
    """
    if root is None:
        raise UserError(
            f"expected --data.root, the folder that holds {name}, got none: "
            f"get the files from {get_it_from}"
        )
    path = root
    for part in Path(name).parts:
        exact = path / part
        if not exact.exists() and path.is_dir():
            path = next((p for p in path.iterdir() if p.name.lower() == part.lower()), exact)
        else:
            path = exact
    if not path.exists():
        raise UserError(f"expected {root / name}, found none: get it from {get_it_from}")
    return path


def fingerprint(paths: Sequence[Path], *, facts: Sequence[str] = ()) -> str:
    """A short name for the state of the files and other facts, such as versions of packages."""
    state = []
    for path in map(os.path.realpath, paths):
        with contextlib.suppress(OSError):  # a dead link: its row is broken, if any names it
            stat = os.stat(path)
            state.append(f"{path} {stat.st_size} {stat.st_mtime_ns}")
    text = "\n".join([*state, *facts])
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]


def is_held_back(key: str, *, share: float) -> bool:
    """Whether `key` (an image, a speaker, a module) belongs to a validation part of that share.

    A function of the key alone, so the parts stay the same when files are added or removed.
    """
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) < share * 2**32


def examples(listed: Iterable, read: Callable[..., Iterator], broken: BrokenRows) -> Iterator:
    """What a builder's `_generate_examples` yields: the (key, record) of all rows.

    `read` is (row, `broken`) -> its (key, record) if it can be used; `broken` counts the rows, and
    gives up after the last.
    """
    for row in listed:
        yield from read(row, broken)
    broken.check()


def prepare(
    builder: "tfds.core.DatasetBuilder",
    broken: BrokenRows | None = None,
    *,
    run: Callable[[], None] | None = None,
) -> None:
    """Prepares a data set unless that is done; logs the rows that were skipped, then and later.

    Of several processes one prepares, and the others wait. `broken` counts the rows; `run` prepares
    in the place of `builder.download_and_prepare` (`scaling.apache_beam`).

    Raises:
        UserError: the source is incomplete or too many rows are broken; nothing is left behind.
    """
    folder = Path(builder.data_dir)
    account = folder / "broken_rows.json"
    if not folder.exists():
        with files.locked(folder.parent):
            if not folder.exists():
                _prepare_now(builder, run or builder.download_and_prepare)
                files.write_json(account, {"skipped": broken.skipped if broken else []})
    if not builder.info.splits:  # another process has prepared it since the builder was made
        builder.info.read_from_directory(folder)
    skipped = files.read_json(account, {"skipped": [""]})["skipped"] if account.exists() else []
    if skipped:
        more = f"; more in {account}" if len(skipped) > _NAMED else ""
        named = "; ".join(skipped[:_NAMED]) + more
        logger.info("%s: %d broken rows skipped: %s", builder.name, len(skipped), named)


def _prepare_now(builder: "tfds.core.DatasetBuilder", run: Callable[[], None]) -> None:
    import tensorflow_datasets as tfds

    what = "prepares"
    if size := builder.info.download_size:
        what = f"downloads {size}, then prepares {builder.info.dataset_size}"
    elif _has_other_code(builder):
        what = "prepares anew, the code that reads it has changed"
    logger.info("%s: %s, into %s", builder.name, what, builder.data_dir)
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    # tensorflow-datasets prints "Downloading ... Unknown size" whatever it does.
    with _plain_user_errors(), contextlib.redirect_stdout(io.StringIO()):
        run()


def _has_other_code(builder: "tfds.core.DatasetBuilder") -> bool:
    """Whether the same files have been prepared by other code, see `builders.Builder`."""
    folder = Path(builder.data_dir)  # .../builder/config/version
    any_code = re.sub("code-[0-9a-f]{8}$", f"code-{'[0-9a-f]' * 8}", folder.parent.name)
    return any(folder.parents[1].glob(f"{any_code}/{folder.name}"))


@contextlib.contextmanager
def _plain_user_errors() -> Iterator[None]:
    """tensorflow-datasets wraps what a builder raises; this raises our own errors unchanged."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError | OSError):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            raise cause from None
        empty = re.search(r'split "(\w+)": No examples were yielded', str(error))
        if not empty:
            raise
        raise UserError(
            f"expected examples in the {empty[1]} part, there is none that can be used: give it "
            "some, or take more of the data set"
        ) from None
