"""The official file formats of captioned images, read in plain Python.

Each reader gives, by part ("train", "validation", "test"), the images with their captions;
datasets.py checks and stores them.
"""

import csv
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from common import datasets, files
from common.errors import UserError

FLICKR8K_SITE = "the Flickr8k page of the University of Illinois"
KARPATHY_SITE = "the page of Karpathy & Fei-Fei 2015 (dataset.json), beside the images"
FOLDER_HINT = "your own files: a column image with paths below the folder, a column caption"
_KARPATHY_PARTS = {"train": "train", "restval": "train", "val": "validation", "test": "test"}
_FLICKR8K_PARTS = {"train": "train", "dev": "validation", "test": "test"}
_HELD_BACK = 0.1  # share of the images of a folder for validation, and for test

logger = logging.getLogger("cellstate")


class Captioned(NamedTuple):
    """One image file with what people wrote about it."""

    image_id: str
    path: Path
    captions: tuple[str, ...]


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
    names = [Path(one.get("filepath", ""), one.get("filename", "")) for one in images]
    folder = _folder_of(path.parent, names)
    for number, (one, name) in enumerate(zip(images, names, strict=True)):
        part = _KARPATHY_PARTS.get(one.get("split"))
        sentences = one.get("sentences")
        if part is None or not isinstance(sentences, list) or not name.name:
            raise UserError(
                f"{path}: expected filename, sentences, and a split out of "
                f"{', '.join(_KARPATHY_PARTS)}, got split {one.get('split')!r} at image {number}: "
                f"get it from {KARPATHY_SITE}"
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
        folder = _folder_of(root, map(Path, listed))
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
    """Reads a table with the columns image and caption, one caption a row, beside the images.

    A column `split` (train, val, test) decides the parts; without it a hash of the image does:
    a tenth each for validation and test. Images without a row are counted.

    Raises:
        UserError: a column is missing, or no image is there.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"image", "caption"} <= set(rows[0]):
        raise UserError(
            f"{path}: expected the columns image and caption, got {list(rows[0]) if rows else []}: "
            f"write them in the first line ({FOLDER_HINT})"
        )
    captions, parts_of = defaultdict(list), {}
    for row in rows:
        captions[row["image"]].append(row["caption"] or "")
        parts_of[row["image"]] = _folder_part(row, path)
    folder = _folder_of(path.parent, map(Path, captions))
    if not any((folder / name).is_file() for name in captions):
        raise UserError(f"expected images beside {path}, found none of them: {FOLDER_HINT}")
    _count_unlisted(folder, set(captions))
    parts: Parts = defaultdict(list)
    for name, texts in captions.items():
        parts[parts_of[name]].append(Captioned(name, folder / name, tuple(texts)))
    return parts


def _folder_part(row: dict, path: Path) -> str:
    if "split" in row:
        part = _KARPATHY_PARTS.get(row["split"])
        if part is None:
            raise UserError(f"{path}: expected split train, val or test, got {row['split']!r}")
        return part
    for part, share in (("validation", _HELD_BACK), ("test", 2 * _HELD_BACK)):
        if datasets.is_held_back(row["image"], share=share):
            return part
    return "train"


def _count_unlisted(folder: Path, listed: set[str]) -> None:
    kinds = Counter(file.suffix.lower() for file in folder.iterdir() if file.name not in listed)
    unlisted = sum(kinds[suffix] for suffix in (".jpg", ".jpeg", ".png", ".bmp"))
    if unlisted:
        logger.info("%s: %d images without a caption are left out", folder, unlisted)


def _flickr8k_file(root: Path | None, name: str) -> Path:
    """In the folder Flickr8k_text, as published, or in the root itself."""
    flat = root is not None and (root / name).exists()
    return datasets.official_file(
        root, name if flat else f"Flickr8k_text/{name}", get_it_from=FLICKR8K_SITE
    )


def _folder_of(root: Path, names: Iterable[Path]) -> Path:
    """Where the images are: `root`, or the folder in it that holds the first that is found."""
    folders = [root, *sorted(child for child in root.iterdir() if child.is_dir())]
    for name in names:
        for folder in folders:
            if (folder / name).is_file():
                return folder
    return root
