"""The data sets of image captioning, as tensorflow-datasets builders.

Every record is one image with all its captions:

    image       encoded bytes        captions   string (captions,)
    image_id    string

`emoji` holds out combinations of a subject with a skin tone: those of validation and of test
differ, and no vendor's drawing of them is in training.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from apps.image_captioning.config import DataConfig
from apps.image_captioning.corpora import emoji, formats
from apps.image_captioning.corpora.formats import Parts
from common.inputs import builders, datasets, images, tables
from common.runs import files
from common.scaling import apache_beam

_TONES_HELD_OUT = 0.075  # share of the skin-tone combinations for validation, and for test


@dataclasses.dataclass(eq=False)
class Source(tfds.core.BuilderConfig):
    """What a builder reads; its name changes with the files, so that stale data is never used."""

    path: Path = Path()
    read: Callable[[Path], Parts] = formats.read_karpathy
    max_images: int | None = None


class _CaptionedImages(builders.Builder):
    """What the builders share: the record and the check of its image and captions."""

    VERSION = tfds.core.Version("1.0.0")
    read_image = staticmethod(images.read)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "image_id": tfds.features.Text(),
            "captions": tfds.features.Sequence(tfds.features.Text()),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _generate_examples(self, listed: Iterable[tables.ImageRows]):
        read = functools.partial(_records, self.read_image)
        return apache_beam.examples(listed, read, self.broken, on_beam=self.on_beam)


def _records(read: Callable, image: tables.ImageRows, broken: datasets.BrokenRows) -> Iterator:
    """Checks an image and yields its (key, record); what cannot be used is counted and left out."""
    encoded, unreadable = read(image.path)
    captions = []
    for row in image.rows:
        caption = row.cells["caption"].strip()
        empty = None if re.search(r"\w", caption) else "empty caption"
        where = f"{row.where}: {image.path}, {caption[:60]!r}"
        if broken.use(where, row.problem or unreadable or empty):
            captions.append(caption)
    if captions:
        yield image.name, {"image": encoded, "image_id": image.name, "captions": captions}


class Emoji(_CaptionedImages):
    """Drawings of Twemoji and OpenMoji; unseen combinations of subject and skin tone held out."""

    @staticmethod
    def read_image(path: Path) -> tuple[bytes, str | None]:
        """The bytes of a drawing, and no problem."""
        return emoji.rasterise(path), None

    def _split_generators(self, dl_manager):
        parts = {"train": [], "validation": [], "test": []}
        for drawing in emoji.read()[: self.builder_config.max_images]:
            name = f"{drawing.vendor}-{drawing.code}"
            row = tables.Row("emoji", {"caption": drawing.caption}, None)
            parts[self.part(drawing)].append(tables.ImageRows(name, drawing.path, [row]))
        return {part: self._generate_examples(listed) for part, listed in parts.items()}

    @staticmethod
    def part(drawing: emoji.Drawing) -> str:
        """The split of a drawing: both vendors' drawings of an emoji are in the same one."""
        if drawing.has_skin_tone and datasets.is_held_back(drawing.code, share=_TONES_HELD_OUT):
            return "validation"
        if drawing.has_skin_tone and datasets.is_held_back(drawing.code, share=2 * _TONES_HELD_OUT):
            return "test"
        return "train"


class Listed(_CaptionedImages):
    """Images that a file lists with their captions, as `formats` reads it."""

    def _split_generators(self, dl_manager):
        parts = self.builder_config.read(self.builder_config.path)
        return {part: self._generate_examples(listed) for part, listed in parts.items()}


LISTS = {  # by --data.name: the file, its reader, where it comes from
    "karpathy": ("dataset.json", formats.read_karpathy, formats.KARPATHY_SITE),
    "flickr8k": (
        "Flickr8k_text/Flickr8k.token.txt",
        formats.read_flickr8k,
        formats.FLICKR8K_SITE,
    ),
    "folder": ("captions.csv", formats.read_folder, formats.FOLDER_HINT),
}


def make_builder(config: DataConfig) -> _CaptionedImages:
    """Prepares a data set if need be, on Apache Beam with `beam`, and returns its builder.

    `max_images` counts here for the emoji only, which take time to draw.

    Raises:
        UserError: files are missing or damaged, a package is missing, too many rows are broken.
    """
    builder = unprepared(config)
    builder.on_beam = config.beam is not None
    apache_beam.prepare(builder, builder.broken, options=config.beam)
    return builder


def unprepared(config: DataConfig) -> _CaptionedImages:
    """The builder of a data set, before anything but the list of its files is read.

    Raises:
        UserError: a file or a package is missing.
    """
    if config.name == "emoji":
        builder_type, limit = Emoji, config.max_images
        paths = [drawing.path for drawing in emoji.read()[:limit]]
        source = Source(name=f"emoji-{datasets.fingerprint(paths)}", max_images=limit)
    else:
        builder_type, (file, reader, site) = Listed, LISTS[config.name]
        path = datasets.official_file(config.root, file, get_it_from=site)
        state = datasets.fingerprint([path, path.parent])
        source = Source(name=f"{config.name}-{state}", path=path, read=reader)
    folder = None if config.cache_dir is None else str(config.cache_dir)
    return builder_type(data_dir=folder, config=source)


def example_arguments() -> list[str]:
    """Arguments for `predict` with a drawing of the default data that is not in training."""
    path = Path(tfds.core.constants.DATA_DIR).expanduser() / "emoji_example.png"
    if not path.exists():
        drawing = next(drawing for drawing in emoji.read() if Emoji.part(drawing) == "test")
        with files.replacing(path) as temporary:
            temporary.write_bytes(emoji.rasterise(drawing.path))
    return ["--image", str(path)]
