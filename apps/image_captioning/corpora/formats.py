"""The official file formats of captioned images, read in plain Python.

Each reader gives, by part ("train", "validation", "test"), the images with their captions;
datasets.py checks and stores them.
"""

import logging
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from common.inputs import datasets, tables
from common.runs import files
from common.runs.errors import UserError

FLICKR8K_SITE = "the Flickr8k page of the University of Illinois"
KARPATHY_SITE = "the page of Karpathy & Fei-Fei 2015 (dataset.json), beside the images"
FOLDER_HINT = "your own files: a column image with paths below the folder, a column caption"
_KARPATHY_PARTS = {"train": "train", "restval": "train", "val": "validation", "test": "test"}
_FLICKR8K_PARTS = {"train": "train", "dev": "validation", "test": "test"}

logger = logging.getLogger("cellstate")


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


def read_flickr8k(path: Path) -> Parts:
    """Reads Flickr8k (Hodosh et al. 2013, https://doi.org/10.1613/jair.3994) as published.

    `path` is its file of captions. Absent photos are skipped and counted: many copies have some.

    Raises:
        UserError: a file is missing or damaged, or no photo of a part is there.
    """
    captions, root = defaultdict(list), path.parents[1]
    for number, line in enumerate(tables.lines(path), start=1):
        key, tab, caption = line.partition("\t")
        if not tab or "#" not in key:
            raise UserError(
                f"{path}:{number}: expected `photo.jpg#0`, a tab and a caption, got "
                f"{line[:60]!r}: get it from {FLICKR8K_SITE}"
            )
        captions[key.rpartition("#")[0]].append(caption)
    parts: Parts = {}
    for name, part in _FLICKR8K_PARTS.items():
        names = path.with_name(f"Flickr_8k.{name}Images.txt")
        if name == "test" and not names.exists():
            continue
        datasets.official_file(path.parent, names.name, get_it_from=FLICKR8K_SITE)
        listed = names.read_text(encoding="utf-8").split()
        folder = tables.folder_of(root, map(Path, listed))
        photos = [photo for photo in listed if (folder / photo).exists()]
        parts[part] = [Captioned(name, folder / name, tuple(captions[name])) for name in photos]
        if not photos:
            raise UserError(
                f"expected photos of {names.name} under {root}, found none: get them from "
                f"{FLICKR8K_SITE}"
            )
        if absent := len(listed) - len(photos):
            message = "flickr8k: %d of %d photos of %s are absent and left out"
            logger.info(message, absent, len(listed), names.name)
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
