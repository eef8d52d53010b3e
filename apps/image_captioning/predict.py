"""Captions photos with a trained run.

python -m apps.image_captioning.predict --run-dir runs/captions photo.jpg [--beam 5] --plot out.png
"""

import csv as csv_module
import json as json_module
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tyro

from apps.image_captioning.config import APP
from common.runs import cli, files
from common.runs.errors import UserError

if TYPE_CHECKING:
    from apps.image_captioning.neighbours import Neighbours

logger = logging.getLogger("cellstate")

_KINDS = (".jpg", ".jpeg", ".png", ".bmp")
_BATCH = 32


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
    """A loaded run, to ask as often as one likes."""

    def __init__(self, captioner, known: "Neighbours | None" = None):
        import tensorflow as tf

        from apps.image_captioning.reranking import Reranking

        self.captioner, self._look = captioner, tf.function(captioner.look)
        self.reranking = known and Reranking(captioner.writer, known, beam=captioner.beam)

    @classmethod
    def load(cls, run_dir: Path, *, beam: int | None = None, rerank: bool = False) -> "Predictor":
        """Loads the best model of a run; `beam` is that of the run unless given, 20 with `rerank`.

        With `rerank` the captions of the most similar training image come to those of the beam, and
        first of all is the one that agrees best with those of similar training images and with
        those that the model draws.

        Raises:
            UserError: no run of this app, or its model is missing or damaged.
        """
        from apps.image_captioning.model import load_captioner
        from apps.image_captioning.neighbours import Neighbours
        from apps.image_captioning.reranking import NUM_WRITTEN

        known = Neighbours.load(run_dir) if rerank else None
        if rerank and beam is None:
            beam = NUM_WRITTEN
        return cls(load_captioner(run_dir, beam=beam), known)

    def caption(self, images: Sequence[bytes]) -> list[Captions]:
        """Captions encoded JPEG, PNG or BMP images.

        Raises:
            UserError: an image cannot be read or is too large.
        """
        import tensorflow as tf

        from common.inputs.images import problem

        for number, image in enumerate(images):
            found = problem(image)
            if found is not None:
                raise UserError(
                    f"expected an image, got one that is {found} (number {number}): "
                    "use another file"
                )
        given = tf.constant(list(images))
        if self.reranking is None:
            found = self.captioner(given)
        else:
            found = self.captioner.describe(self.reranking(self._look(given)))
        found = {name: value.numpy() for name, value in found.items()}
        return [self._of_row(found, row) for row in range(len(images))]

    def _of_row(self, found: dict[str, np.ndarray], row: int) -> Captions:
        pairs = zip(found["caption"][row], found["score"][row], strict=True)
        tokens = [token.decode() for token in found["tokens"][row]]
        length = tokens.index("") + 1 if "" in tokens else len(tokens)
        return Captions(
            [(caption.decode(), float(score)) for caption, score in pairs if np.isfinite(score)],
            tokens[:length],
            found["attention"][row, :length],
        )


def images_of(paths: Sequence[Path]) -> list[Path]:
    """The image files among `paths`, folders replaced by the images in them.

    Raises:
        UserError: a path does not exist, or there is no image.
    """
    found = []
    for path in paths:
        if not path.exists():
            raise UserError(f"expected an image file or a folder, found none at {path}")
        inside = (
            [one for one in sorted(path.iterdir()) if one.suffix.lower() in _KINDS]
            if path.is_dir()
            else [path]
        )
        if not inside:
            raise UserError(f"expected JPEG, PNG or BMP images in the folder {path}, found none")
        found += inside
    if not found:
        raise UserError("expected at least one image file or folder, got none")
    return found


def _caption_all(predictor: Predictor, paths: Sequence[Path]) -> Iterator[tuple[Path, Captions]]:
    """Captions in batches; of several images, those that cannot be read are named and left out."""
    from common.inputs import pipeline
    from common.inputs.images import problem

    for batch in cli.progress(list(pipeline.chunks(paths, _BATCH)), "batches of images"):
        readable = []
        for path in batch:
            encoded = path.read_bytes()
            found = problem(encoded)
            if found is None:
                readable.append((path, encoded))
            elif len(paths) == 1:
                raise UserError(f"expected an image, {path} is {found}: use another file")
            else:
                logger.warning("note: leaves out %s, it is %s", path, found)
        if readable:
            captions = predictor.caption([encoded for _, encoded in readable])
            yield from zip([path for path, _ in readable], captions, strict=True)


def main(
    *,
    run_dir: Path,
    photos: tyro.conf.Positional[tuple[Path, ...]] = (),
    image: tuple[Path, ...] = (),
    beam: int | None = None,
    alternatives: int = 1,
    rerank: bool = False,
    csv: Path | None = None,
    plot: Path | None = None,
    json: bool = False,
) -> None:
    """Captions photos, or all photos of a folder.

    Args:
        run_dir: Folder that `train` wrote.
        photos: JPEG, PNG or BMP files, or folders of them.
        image: The same by name.
        beam: Captions kept at each step; that of the run by default, with --rerank 20.
        alternatives: Captions shown for each image, without --rerank at most as many as the beam.
        rerank: First the caption that agrees best with those of similar training images and with
            those that the model draws; those of the most similar one are among the alternatives.
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
    found = list(_caption_all(predictor, paths))
    if csv is not None:
        _write_csv(found, csv)
    if plot is not None:
        _draw(found, plot)
    if json:
        print(json_module.dumps({"images": [_as_dict(*one, alternatives) for one in found]}))
        return
    for path, captions in found:
        for caption, score in captions.captions[:alternatives]:
            print(f"{score:8.3f}  {path.name}  {caption}")


def _as_dict(path: Path, captions: Captions, alternatives: int) -> dict:
    return {
        "image": str(path),
        "captions": captions.captions[:alternatives],
        "tokens": captions.tokens,
        "attention": captions.attention.tolist(),
    }


def _write_csv(found: list[tuple[Path, Captions]], path: Path) -> None:
    with files.replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv_module.writer(file)
        writer.writerow(["image", "caption", "score"])
        writer.writerows([str(one), *captions.captions[0]] for one, captions in found)


def _draw(found: list[tuple[Path, Captions]], path: Path) -> None:
    from apps.image_captioning import plots
    from common.inputs import images

    shown = [(images.decode(one.read_bytes()).numpy(), captions) for one, captions in found]
    plots.words_over_images(
        [(image, words.tokens, words.attention, words.captions[0][0]) for image, words in shown],
        path=path,
    )


if __name__ == "__main__":
    cli.run(main, app=APP)
