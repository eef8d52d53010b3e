"""The official file formats of captioned images, read in plain Python.

Each reader gives, by part, the images and a row with the cell `caption` for each of their captions;
datasets.py checks and stores them.
"""

import logging
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from common.inputs import datasets, tables
from common.runs import files
from common.runs.errors import UserError

FLICKR8K_SITE = "the Flickr8k page of the University of Illinois"
KARPATHY_SITE = "the page of Karpathy & Fei-Fei 2015 (dataset.json), beside the images"
FOLDER_HINT = "your own files: a column image with paths below the folder, a column caption"
_KARPATHY = {"filename": "", "split": "", "sentences": []}  # `filepath` may be absent

logger = logging.getLogger("cellstate")


Parts = dict[str, list[tables.ImageRows]]  # by "train", "validation" and, if it is there, "test"


def read_karpathy(path: Path) -> Parts:
    """Reads a `dataset.json` of Karpathy & Fei-Fei 2015, https://arxiv.org/abs/1412.2306.

    The photos are beside it, or in a folder there; COCO's `restval` counts as training.

    Raises:
        UserError: it is no such file, or has a split of another name, or a photo is in two.
    """

    def rows() -> Iterator[tables.Row]:
        images = files.read_json_rows(path, "images", _KARPATHY, get_it_from=KARPATHY_SITE)
        for where, image, problem in images:
            name = Path(files.repaired(image.get("filepath"), ""), image["filename"])
            cells = {"image": str(name), "split": image["split"], "caption": ""}
            if problem or not image["sentences"]:
                yield tables.Row(where, cells, problem or "no caption")
                continue
            for number, sentence in enumerate(image["sentences"]):
                caption = files.repaired(sentence, {"raw": ""})["raw"]
                problem = files.mismatch(sentence, {"raw": ""}, f".sentences[{number}]")
                yield tables.Row(where, cells | {"caption": caption}, problem)

    return tables.images_in_parts(rows(), path.parent, source=path)


def read_flickr8k(path: Path) -> Parts:
    """Reads Flickr8k (Hodosh et al. 2013, https://doi.org/10.1613/jair.3994) as published.

    `path` is its file of captions. Absent photos are skipped and counted: many copies have some.

    Raises:
        UserError: a file is missing or damaged, or no photo of a part is there.
    """
    captions, root = defaultdict(list), path.parents[1]
    for number, line in enumerate(files.read_lines(path), start=1):
        key, tab, caption = line.partition("\t")
        if not tab or "#" not in key:
            raise UserError(
                f"{path}:{number}: expected `photo.jpg#0`, a tab and a caption, got "
                f"{line[:60]!r}: get it from {FLICKR8K_SITE}"
            )
        captions[tables.plain_name(key.rpartition("#")[0])].append(caption)
    rows = []
    for part in ("train", "dev", "test"):
        names = path.with_name(f"Flickr_8k.{part}Images.txt")
        if part == "test" and not names.exists():
            continue
        datasets.official_file(path.parent, names.name, get_it_from=FLICKR8K_SITE)
        listed = [name for line in files.read_lines(names) if (name := line.strip())]
        folder = tables.folder_of(root, listed)
        photos = [photo for photo in listed if os.path.isfile(tables.find(folder, photo))]
        for name in dict.fromkeys(photos):
            cells = {"image": name, "split": part}
            for caption in captions[tables.plain_name(name)] or [""]:
                rows.append(tables.Row(str(names), cells | {"caption": caption}, None))
        if not photos:
            raise UserError(
                f"expected photos of {names.name} under {root}, found none: get them from "
                f"{FLICKR8K_SITE}"
            )
        if absent := len(listed) - len(photos):
            message = "flickr8k: %d of %d photos of %s are absent and left out"
            logger.info(message, absent, len(listed), names.name)
    return tables.images_in_parts(rows, root, source=path)


def read_folder(path: Path) -> Parts:
    """Reads a table with the columns image and caption, one a row (common/inputs/tables.py).

    Raises:
        UserError: a column is missing, or no image is there.
    """
    return tables.read_images(path, ["caption"])
