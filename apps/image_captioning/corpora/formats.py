"""The official file formats of captioned images, read in plain Python.

Each reader gives, by part ("train", "validation", "test"), the images with their captions;
datasets.py checks and stores them.
"""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from common.inputs import tables
from common.runs import files
from common.runs.errors import UserError

KARPATHY_SITE = "the page of Karpathy & Fei-Fei 2015 (dataset.json), beside the images"
FOLDER_HINT = "your own files: a column image with paths below the folder, a column caption"
_KARPATHY_PARTS = {"train": "train", "restval": "train", "val": "validation", "test": "test"}


class Captioned(NamedTuple):
    """One image file with what people wrote about it."""

    image_id: str
    path: Path
    captions: tuple[str, ...]
    rows: tuple[tables.Row, ...] = ()  # of a table of one's own, as many as captions


Parts = dict[str, list[Captioned]]


def read_karpathy(path: Path) -> Parts:
    """Reads a `dataset.json` of Karpathy & Fei-Fei 2015, https://arxiv.org/abs/1412.2306.

    The photos are beside it, or in a folder there; COCO's `restval` counts as training.

    Raises:
        UserError: it is no such file, or has a split of another name.
    """
    stored = files.read_json(path)
    images = stored.get("images") if isinstance(stored, dict) else None
    if not isinstance(images, list) or not images:
        raise UserError(f"{path}: expected a list under 'images': get it from {KARPATHY_SITE}")
    parts: Parts = defaultdict(list)
    names = [Path(image.get("filepath", ""), image.get("filename", "")) for image in images]
    folder = tables.folder_of(path.parent, names)
    for number, (image, name) in enumerate(zip(images, names, strict=True)):
        part = _KARPATHY_PARTS.get(image.get("split"))
        sentences = image.get("sentences")
        if part is None or not isinstance(sentences, list) or not name.name:
            raise UserError(
                f"{path}: expected filename, sentences, and a split out of "
                f"{', '.join(_KARPATHY_PARTS)}, got split {image.get('split')!r} at image "
                f"{number}: get it from {KARPATHY_SITE}"
            )
        captions = tuple(sentence.get("raw", "") for sentence in sentences)
        parts[part].append(Captioned(str(name), folder / name, captions))
    return parts


def read_folder(path: Path) -> Parts:
    """Reads a table with the columns image and caption, one a row (common/inputs/tables.py).

    Raises:
        UserError: a column is missing, or no image is there.
    """
    return {
        part: [
            Captioned(name, file, tuple(row.cells["caption"] for row in rows), tuple(rows))
            for name, file, rows in listed
        ]
        for part, listed in tables.read_images(path, ["caption"]).items()
    }
