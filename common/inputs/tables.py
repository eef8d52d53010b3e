"""Tables of a user's own: CSV with a header, by row or by part, each row with its place.

Text that is no table at all is an error; a row that cannot be used carries its problem, so that
the reader counts it and goes on.
"""

import contextlib
import csv
import functools
import itertools
import logging
import os
import posixpath
import re
import stat
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from common.inputs import datasets
from common.runs import files
from common.runs.errors import UserError

PARTS = {
    "train": "train",
    "restval": "train",  # of Karpathy's COCO
    "val": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}
_HELD_BACK = 0.1  # share of the keys for validation, and for test
_SPACES = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ufeff]+")
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


def one_line(text: str) -> str:
    """Text as a label or key: composed characters (NFC), one blank for any white space.

    >>> one_line(" yes\\r\\ncertainly ")
    'yes certainly'
    """
    return _SPACES.sub(" ", unicodedata.normalize("NFC", text)).strip()


def read(path: Path, columns: Sequence[str], *, dialect: str = "excel") -> Iterator[Row]:
    """Reads a table that has at least these columns; `files.read_text` says in what coding.

    In the dialect excel-tab of Python's csv, quotation marks are text.

    Raises:
        UserError: a column is missing, it is no UTF-8, or a quotation mark is never closed.
    """
    quoting = csv.QUOTE_NONE if dialect == "excel-tab" else csv.QUOTE_MINIMAL
    text = (f"{line}\n" for line in files.read_lines(path))
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
    rows = read(path, columns if key is None else (key, *columns), dialect=dialect)
    names = columns if key is None else [key]
    return _in_parts(("\t".join(one_line(row.cells[name]) for name in names), row) for row in rows)


def _in_parts(rows: Iterable[tuple[str, Row]]) -> dict[str, list[Group]]:
    """Rows with their keys, in groups by part; a row that is broken or has no key decides none."""
    groups: dict[str, list[Row]] = defaultdict(list)
    part_of: dict[str, str] = {}
    for key, row in rows:
        groups[key].append(row)
        # The cells of a broken row may stand in other columns.
        part = None if row.problem or not key else _part(row, key)
        if part is not None and part_of.setdefault(key, part) != part:
            raise UserError(
                f"{row.where}: expected all rows of {key[:60]} in one split, got {part} after "
                f"{part_of[key]}: a test on rows of training means nothing"
            )
    parts: dict[str, list[Group]] = defaultdict(list)
    for key, of_key in groups.items():
        parts[part_of.get(key, "train")].append(Group(key, of_key))
    return parts


class ImageRows(NamedTuple):
    """An image and the rows that name it."""

    name: str
    path: Path
    rows: list[Row]


def read_images(path: Path, columns: Sequence[str]) -> dict[str, list[ImageRows]]:
    """Reads a table about images that stand beside it, by part as `read_parts` does.

    Its column `image` holds paths below its folder, or below one folder in it.

    Raises:
        UserError: as `read_parts` and `images_in_parts`.
    """
    return images_in_parts(read(path, ("image", *columns)), path.parent, source=path)


def images_in_parts(rows: Iterable[Row], root: Path, *, source: Path) -> dict[str, list[ImageRows]]:
    """Images below `root`, or below one folder in it, by part, each with its rows.

    A row has the cell `image`, and a cell `split` or none, as in `read_parts`. An image is its
    file: `pics//a.png`, `./pics/a.png` and a link to it are `pics/a.png`. Images without a row are
    counted.

    Args:
        rows: from `source`.
        root, source: see above.

    Raises:
        UserError: no image is there, or one stands in two parts.
    """
    rows = list(rows)
    folder = folder_of(root, (row.cells["image"] for row in rows))
    name_of: dict[object, str] = {}  # by file

    @functools.cache  # a photo has several rows
    def identity(spelling: str) -> str:
        name = plain_name(spelling)
        try:
            file = os.stat(find(folder, spelling))
        except (OSError, ValueError):
            return name
        is_file = stat.S_ISREG(file.st_mode)
        return name_of.setdefault((file.st_dev, file.st_ino or name), name) if is_file else name

    parts = _in_parts((identity(row.cells["image"]), row) for row in rows)
    if not name_of:
        has_backslash = os.sep == "/" and any("\\" in row.cells["image"] for row in rows)
        hint = ", with / for \\" if has_backslash else ""
        raise UserError(
            f"expected images beside {source}, found none of them: it holds their paths below "
            f"its folder{hint}"
        )
    _count_unlisted(folder, set(name_of.values()))
    return {
        part: [ImageRows(name, find(folder, name), of_image) for name, of_image in groups]
        for part, groups in parts.items()
    }


def median_side(folder: Path, most: int = 32) -> int:
    """Pixels of the shorter side of images below a folder, of half of them or more; 0 for none."""
    from PIL import Image

    sides = []
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in _IMAGES)
    for path in itertools.islice(paths, most):
        with contextlib.suppress(OSError, Image.DecompressionBombError), Image.open(path) as image:
            sides.append(min(image.size))
    return sorted(sides)[len(sides) // 2] if sides else 0


def plain_name(spelling: str) -> str:
    """A path below a folder, spelled in one way: without `./` and `//`, characters composed."""
    return unicodedata.normalize("NFC", posixpath.normpath(spelling)) if spelling else ""


def folder_of(root: Path, names: Iterable[str]) -> Path:
    """Where the images are: `root`, or the folder in it that holds the first of them."""
    folders = [root, *sorted(filter(os.path.isdir, root.iterdir()))]
    for name in names:
        for folder in folders:
            if name and os.path.isfile(find(folder, name)):
                return folder
    return root


def find(folder: Path, name: str) -> Path:
    """The path of a file below a folder, whatever Unicode form its name has on the disk."""
    path = folder / name
    if name.isascii() or os.path.exists(path):
        return path
    path = folder
    for part in Path(name).parts:
        with contextlib.suppress(OSError):
            names = _composed_names(path, path.stat().st_mtime_ns)
            part = names.get(unicodedata.normalize("NFC", part), part)
        path /= part
    return path


@functools.lru_cache(maxsize=16)
def _composed_names(folder: Path, changed_ns: int) -> dict[str, str]:
    """The names in a folder by their composed form; `changed_ns` tells its states apart."""
    return {unicodedata.normalize("NFC", name): name for name in os.listdir(folder)}


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
    names = (unicodedata.normalize("NFC", name) for name in os.listdir(folder))
    kinds = Counter(posixpath.splitext(name)[1].lower() for name in names if name not in listed)
    unlisted = sum(kinds[suffix] for suffix in _IMAGES)
    if unlisted:
        logger.info("%s: %d images without a row are left out", folder, unlisted)
