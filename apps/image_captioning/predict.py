"""Captions photos with a trained run.

python -m apps.image_captioning.predict --run-dir runs/captions photo.jpg [--beam 5] --plot out.png
"""

import csv as csv_module
import io
import json as json_module
import logging
import os
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tyro

from apps.image_captioning.config import APP
from common.runs import cli, files
from common.runs.errors import UserError

if TYPE_CHECKING:
    from apps.image_captioning.captioning.neighbours import Neighbours
    from apps.image_captioning.model import Captioner
    from common.training.logging import Sample, Samples

logger = logging.getLogger("cellstate")

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
_BATCH = 32
_MAX_DRAWN = 8  # images in one picture


class Captions(NamedTuple):
    """What the model says about one image.

    Attributes:
        captions: (caption, score), best first; the score is the log-probability after the length
            penalty.
        tokens: the words of the best one, then "" for its end.
        attention: float32 (time, rows, columns), each word's summing to 1: where it looked.
    """

    captions: list[tuple[str, float]]
    tokens: list[str]
    attention: np.ndarray


class Predictor:
    """A loaded run, for any number of images."""

    def __init__(self, captioner: "Captioner", neighbours: "Neighbours | None" = None):
        import tensorflow as tf

        from apps.image_captioning.captioning.neighbours import Reranking

        self.captioner, self._encode = captioner, tf.function(captioner.encode)
        self.reranking = neighbours and Reranking(captioner.writer, neighbours, beam=captioner.beam)

    @classmethod
    def load(cls, run_dir: Path, *, beam: int | None = None, rerank: bool = False) -> "Predictor":
        """Loads the best model of a run.

        Args:
            run_dir: written by `train`.
            beam: that of the run unless given, 20 with `rerank`.
            rerank: the first caption is that of captioning/neighbours.py.

        Raises:
            UserError: no run of this app, or its model is missing or damaged.
        """
        from apps.image_captioning.captioning.neighbours import NUM_WRITTEN, Neighbours
        from apps.image_captioning.model import load_inference

        if not rerank:
            return cls(load_inference(run_dir, beam=beam))
        return cls(load_inference(run_dir, beam=beam or NUM_WRITTEN), Neighbours.load(run_dir))

    def caption(self, images: Sequence[bytes]) -> list[Captions]:
        """Captions encoded JPEG, PNG or BMP images.

        Raises:
            UserError: an image cannot be read or is too large.
        """
        import tensorflow as tf

        from common.inputs.images import require

        for number, image in enumerate(images):
            require(image, f" (number {number})")
        encoded = tf.constant(list(images))
        if self.reranking is None:
            outputs = self.captioner(encoded)
        else:
            outputs = self.captioner.describe(self.reranking(self._encode(encoded)))
        columns = ("caption", "score", "tokens", "attention")
        results = []
        for texts, scores, words, attention in zip(
            *(outputs[name].numpy() for name in columns), strict=True
        ):
            tokens = [word.decode() for word in words]
            tokens = tokens[: tokens.index("") + 1] if "" in tokens else tokens
            pairs = zip(texts, scores, strict=True)
            captions = [(text.decode(), float(score)) for text, score in pairs if score > -np.inf]
            results.append(Captions(captions, tokens, attention[: len(tokens)]))
        return results


def make_samples(captioner: "Captioner", records: Iterable[dict]) -> "Samples":
    """Makes what TensorBoard shows of a training: captions of the first of some records."""
    from common.training.logging import NUM_SAMPLES, Sample

    predictor = Predictor(captioner)
    first = [
        (record["image"].numpy(), record["captions"][0].numpy().decode())
        for record in islice(records, NUM_SAMPLES)
    ]

    def write(folder: Path) -> "Iterator[Sample]":
        for number, (image, reference) in enumerate(first):
            (captions,) = predictor.caption([image])
            path = folder / f"{number}.png"
            draw_captions([image], [captions], path)
            yield Sample(f"**{captions.captions[0][0]}** (right: {reference})", path)

    return write


def draw_captions(images: Sequence[bytes], captions: Sequence[Captions], path: Path) -> None:
    """Draws each image with its caption and, beside it, where the model looked at each word.

    Args:
        images: encoded; the first eight are drawn.
        captions: of each. The attention of a word is scaled to its own maximum, which is named.
        path: .png, .pdf or .svg.

    Raises:
        UserError: the suffix of `path` is none that can be drawn.
    """
    from common.inputs.images import decode
    from common.plots import figures

    images, captions = images[:_MAX_DRAWN], captions[:_MAX_DRAWN]
    columns = 1 + max(len(of_image.tokens) for of_image in captions)
    figure = figures.start(path, size=(1.7 * columns, 0.5 + 2.2 * len(images)))
    axes = figure.subplots(len(images), columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for row, image, of_image in zip(axes, images, captions, strict=True):
        pixels = decode(image).numpy()
        row[0].imshow(pixels)
        title = textwrap.fill(of_image.captions[0][0], 24)
        row[0].set_title(title, fontsize=8, parse_math=False)
        for axis, word, attention in zip(
            row[1:], of_image.tokens, of_image.attention, strict=False
        ):
            figures.heat_map(axis, pixels, attention)
            title = f"{word or '(end)'}\n{attention.max():.0%}"
            axis.set_title(title, fontsize=8, parse_math=False)
    title = "Where it looked at each word, and the largest share"
    figures.finish(figure, title=title, path=path)


def images_of(paths: Sequence[Path]) -> list[Path]:
    """The paths, folders replaced by the images in them.

    Raises:
        UserError: the only path does not exist, or there is no image.
    """
    images = []
    for path in paths:
        if len(paths) == 1 and not os.path.exists(path):
            raise UserError(f"expected an image file or a folder, found none at {path}")
        inside = sorted(path.iterdir()) if os.path.isdir(path) else [path]
        images += [child for child in inside if child == path or child.suffix.lower() in _SUFFIXES]
    if not images:
        named = ", ".join(map(str, paths)) or "an empty list"
        raise UserError(f"expected JPEG, PNG or BMP images or folders, found none in {named}")
    return images


def _caption_all(predictor: Predictor, paths: Sequence[Path]) -> Iterator[tuple[Path, Captions]]:
    """Captions in batches; of several images, those that cannot be read are named and left out."""
    from common.inputs import images, pipeline

    for batch in cli.progress(list(pipeline.chunks(paths, _BATCH)), "batches of images"):
        readable = {}
        for path in batch:
            encoded, reason = images.read(path)
            if reason is None:
                readable[path] = encoded
            elif len(paths) == 1:
                raise UserError(f"expected an image, got {path}, {reason}: use another file")
            else:
                logger.warning("note: leaves out %s: %s", path, reason)
        if readable:
            yield from zip(readable, predictor.caption(list(readable.values())), strict=True)


def main(
    *,
    run_dir: Path,
    photos: tyro.conf.Positional[tuple[Path, ...]] = (),
    image: tuple[Path, ...] = (),
    beam: int | None = None,
    alternatives: int = 1,
    rerank: bool = False,
    csv: cli.OutputFile = None,
    plot: cli.OutputFile = None,
    json: bool = False,
) -> None:
    """Captions photos, or all photos of a folder.

    Args:
        run_dir: Folder that `train` wrote.
        photos: JPEG, PNG or BMP files, or folders of them.
        image: The same by name.
        beam: Captions kept at each step; that of the run by default, with --rerank 20.
        alternatives: Captions printed of each image, at most as many as the beam.
        rerank: First the caption that agrees best with those of similar training images and with
            samples of the network.
        csv: Write image, caption and score of each to this file.
        plot: Write a picture of where the model looked at each word, e.g. out.png.
        json: Print one JSON object.
    """
    if alternatives < 1 or (beam is not None and beam < 1):
        raise UserError(f"expected --beam and --alternatives >= 1, got {beam} and {alternatives}")
    paths = images_of([*photos, *image])
    # By itself reranking takes a beam that is wide enough.
    width = max(alternatives, beam or 0) if beam or (alternatives > 1 and not rerank) else None
    predictor = Predictor.load(run_dir, beam=width, rerank=rerank)
    results = list(_caption_all(predictor, paths))
    if not results:
        raise UserError(f"expected images, none of {len(paths)} can be read: use other files")
    rows = [
        {
            "image": str(path),
            "captions": captions.captions[:alternatives],
            "tokens": captions.tokens,
            "attention": captions.attention.tolist(),
        }
        for path, captions in results
    ]
    if json:
        print(json_module.dumps({"images": rows}))
    for row in () if json else rows:
        for caption, score in row["captions"]:
            print(f"{score:8.3f}  {Path(row['image']).name}  {caption}")
    if csv is not None:
        table = csv_module.writer(text := io.StringIO())
        table.writerow(["image", "caption", "score"])
        table.writerows([str(path), *captions.captions[0]] for path, captions in results)
        files.write_text(csv, text.getvalue())
    if plot is not None:
        drawn = results[:_MAX_DRAWN]
        images = [path.read_bytes() for path, _ in drawn]
        draw_captions(images, [captions for _, captions in drawn], plot)


if __name__ == "__main__":
    cli.run(main, app=APP)
