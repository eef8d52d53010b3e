"""Tables of a user's own: CSV with a header, by row or by part, each row with its place.

Text that is no table at all is an error; a row that cannot be used carries its problem, so that
the reader counts it and goes on.
"""

import csv
import gzip
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from common.inputs import datasets
from common.runs.errors import UserError

PARTS = {
    "train": "train",
    "val": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}
_HELD_BACK = 0.1  # share of the keys for validation, and for test
_IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")

logger = logging.getLogger("cellstate")


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        where: file and line, `captions.csv:12`.
        cells: by column, without blanks around them; "" where the row is short.
        problem: why it cannot be used, or None.
    """

    where: str
    cells: dict[str, str]
    problem: str | None


def read(path: Path, columns: Sequence[str], *, dialect: str = "excel") -> Iterator[Row]:
    """Reads a table that has at least these columns, UTF-8 with or without a byte order mark.

    It may be packed by gzip. In the dialect excel-tab of Python's csv, quotation marks are text.

    Raises:
        UserError: a column is missing, it is no UTF-8, or a quotation mark is never closed.
    """
    quoting = csv.QUOTE_NONE if dialect == "excel-tab" else csv.QUOTE_MINIMAL
    text = (f"{line}\n" for line in lines(path))
    reader = csv.reader(text, dialect=dialect, quoting=quoting, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in columns if name not in header]
        if missing:
            raise UserError(
                f"{path}: expected the columns {', '.join(columns)}, {', '.join(missing)} missing "
                f"in {header}: name them in the first line, with commas between"
            )
        for fields in reader:
            if fields:
                values = zip(header, map(str.strip, fields), strict=False)
                cells = dict.fromkeys(header, "") | dict(values)
                problem = None
                if len(fields) != len(header):
                    problem = (
                        f"expected {len(header)} fields, got {len(fields)}: "
                        "put quotes around text with commas in it"
                    )
                yield Row(f"{path}:{reader.line_num}", cells, problem)
    except csv.Error as error:
        raise UserError(
            f"{path}:{reader.line_num}: expected a table ({error}): correct it"
        ) from None


def lines(path: Path) -> Iterator[str]:
    """The lines of a text file, which may be packed by gzip, without their ends.

    Raises:
        UserError: the file is not UTF-8; names the line.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}:{number}: expected UTF-8 text, got other bytes ({error.reason} at "
                    f"byte {error.start} of the line): save the file as UTF-8"
                ) from None
            yield text.rstrip("\r\n")


class Group(NamedTuple):
    """Rows that belong together: no other part has a row with their key."""

    key: str
    rows: list[Row]


def read_parts(
    path: Path, columns: Sequence[str], *, key: str | None = None, dialect: str = "excel"
) -> dict[str, list[Group]]:
    """Reads a table by part: "train", "validation", "test"; groups stand in their first order.

    A column `split` decides the parts: train, val (or validation, dev), test. Without it a hash of
    the key does: a tenth each for validation and test.

    Args:
        path, columns, dialect: as in `read`.
        key: the column whose values stand in one part each, such as the speaker or the document.
            Without it each row is a group of its own, with those that are equal in all `columns`.

    Raises:
        UserError: the table cannot be read, names another split, or one key in two.
    """
    groups: dict[str, list[Row]] = defaultdict(list)
    part_of: dict[str, str] = {}
    for row in read(path, columns if key is None else (key, *columns), dialect=dialect):
        value = "\t".join(row.cells[name] for name in columns) if key is None else row.cells[key]
        groups[value].append(row)
        part = None if row.problem else _part(row, value)  # its cells may stand in other columns
        if part is not None and part_of.setdefault(value, part) != part:
            raise UserError(
                f"{row.where}: expected all rows of {value[:60]} in one split, got {part} after "
                f"{part_of[value]}: a test on rows of training means nothing"
            )
    parts: dict[str, list[Group]] = defaultdict(list)
    for value, rows in groups.items():
        parts[part_of.get(value, "train")].append(Group(value, rows))
    return parts


class ImageRows(NamedTuple):
    """An image and the rows that name it."""

    name: str
    path: Path
    rows: list[Row]


def read_images(path: Path, columns: Sequence[str]) -> dict[str, list[ImageRows]]:
    """Reads a table about images that stand beside it, by part as `read_parts` does.

    Its column `image` holds paths below its folder, or below one folder in it. Images without a row
    are counted.

    Raises:
        UserError: as `read_parts`, or no image is there.
    """
    parts = read_parts(path, columns, key="image")
    names = [group.key for groups in parts.values() for group in groups]
    folder = folder_of(path.parent, map(Path, names))
    if not any(os.path.isfile(folder / name) for name in names):
        hint = ", with / for \\" if os.sep == "/" and any("\\" in name for name in names) else ""
        raise UserError(
            f"expected images beside {path}, found none of them: the column image holds "
            f"their paths below the folder{hint}"
        )
    _count_unlisted(folder, set(names))
    return {
        part: [ImageRows(name, folder / name, rows) for name, rows in groups]
        for part, groups in parts.items()
    }


def folder_of(root: Path, names: Iterable[Path]) -> Path:
    """Where the images are: `root`, or the folder in it that holds the first of them."""
    folders = [root, *sorted(filter(os.path.isdir, root.iterdir()))]
    for name in names:
        for folder in folders:
            if os.path.isfile(folder / name):  # of a name that is too long, pathlib raises
                return folder
    return root


def _part(row: Row, key: str) -> str:
    if "split" in row.cells:
        part = PARTS.get(row.cells["split"].lower())
        if part is None:
            raise UserError(
                f"{row.where}: expected split train, val or test, got {row.cells['split']!r}: "
                "correct it, or leave out the column"
            )
        return part
    for part, share in (("validation", _HELD_BACK), ("test", 2 * _HELD_BACK)):
        if datasets.is_held_back(key, share=share):
            return part
    return "train"


def _count_unlisted(folder: Path, listed: set[str]) -> None:
    kinds = Counter(file.suffix.lower() for file in folder.iterdir() if file.name not in listed)
    unlisted = sum(kinds[suffix] for suffix in _IMAGES)
    if unlisted:
        logger.info("%s: %d images without a row are left out", folder, unlisted)
