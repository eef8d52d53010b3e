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


def read_flickr8k(root: Path | None) -> Parts:
    """Reads Flickr8k (Hodosh et al. 2013, https://doi.org/10.1613/jair.3994) as published.

    Photos that are not there are skipped and counted: many copies are incomplete.

    Raises:
        UserError: a file is missing or damaged, or no photo of a part is there.
    """
    tokens = _flickr8k_file(root, "Flickr8k.token.txt")
    captions = defaultdict(list)
    for number, line in enumerate(tokens.read_text(encoding="utf-8").splitlines(), start=1):
        key, tab, caption = line.partition("\t")
        if not tab or "#" not in key:
            raise UserError(
                f"{tokens}:{number}: expected `photo.jpg#0`, a tab and a caption, got "
                f"{line[:60]!r}: get it from {FLICKR8K_SITE}"
            )
        captions[key.rpartition("#")[0]].append(caption)
    assert root is not None  # the token file was found in it
    parts: Parts = {}
    for name, part in _FLICKR8K_PARTS.items():
        file = f"Flickr_8k.{name}Images.txt"
        if name == "test" and not any(root.rglob(file)):
            continue
        listed = _flickr8k_file(root, file).read_text(encoding="utf-8").split()
        folder = tables.folder_of(root, map(Path, listed))
        parts[part] = [
            Captioned(photo, folder / photo, tuple(captions[photo]))
            for photo in listed
            if (folder / photo).exists()
        ]
        if not parts[part]:
            raise UserError(
                f"expected photos of {file} under {root}, found none: get them from {FLICKR8K_SITE}"
            )
        if len(parts[part]) < len(listed):
            logger.info(
                "flickr8k: %d of %d photos of %s are absent and left out",
                len(listed) - len(parts[part]),
                len(listed),
                file,
            )
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


def _flickr8k_file(root: Path | None, name: str) -> Path:
    """In the folder Flickr8k_text, as published, or in the root itself."""
    flat = root is not None and (root / name).exists()
    return datasets.official_file(
        root, name if flat else f"Flickr8k_text/{name}", get_it_from=FLICKR8K_SITE
    )
