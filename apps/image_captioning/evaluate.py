"""Scores a run: captions by beam search against people's, beside blind baselines.

python -m apps.image_captioning.evaluate --run-dir runs/captions [--split validation|test] [--json]
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from apps.image_captioning.config import APP, Config
from apps.image_captioning.predict import load_network
from common import cli
from common.evaluation import Evaluation
from common.runs import RunDirectory

if TYPE_CHECKING:
    import tensorflow as tf

BLIND = ("most_frequent_caption", "nearest_image", "shuffled_images")


class Told(NamedTuple):
    """One image with what people, the model and its rivals say about it."""

    references: tuple[str, ...]
    given: dict[str, str]  # by "model" and the names in BLIND


class Known(NamedTuple):
    """The training images as the rivals know them.

    Attributes:
        features: float32 (images, channels), means of the grids, of length 1.
        captions: of each image.
        most_frequent: caption of all.
    """

    features: np.ndarray
    captions: list[list[str]]
    most_frequent: str


def evaluate(
    run_dir: Path,
    split: str = "validation",
    *,
    root: Path | None = None,
    cache_dir: Path | None = None,
) -> Evaluation:
    """Scores the best model of a run on a split and writes metrics-<split>.json there.

    Args:
        run_dir: written by `train`.
        split: "train", "validation" or "test".
        root: where the official files are now, if not where training found them.
        cache_dir: likewise for prepared data.

    Raises:
        UserError: no run of this app, or the data has no such split.
    """
    run = RunDirectory.open(run_dir, app=APP)
    config = run.read_config(Config)
    where = {"root": root or config.data.root, "cache_dir": cache_dir or config.data.cache_dir}
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, **where))

    told = list(_tell_all(run.path, config, split))
    # Another image's caption: what the model says about the image before.
    own = [row.given["model"] for row in told]
    for row, other in zip(told, [own[-1], *own], strict=False):
        row.given["shuffled_images"] = other
    found = {
        name: _scores([row.references for row in told], [row.given[name] for row in told])
        for name in ("model", *BLIND)
    }
    result = Evaluation(
        app=APP,
        data=config.data.name,
        split=split,
        num_examples=len(told),
        metrics=found.pop("model"),
        baselines=found,
    )
    run.write_json(f"metrics-{split}.json", dataclasses.asdict(result))
    return result


def _scores(references: list[tuple[str, ...]], given: list[str]) -> dict[str, float]:
    exact = [one in people for one, people in zip(given, references, strict=True)]
    return {"exact_match": float(np.mean(exact))}


def _tell_all(run_dir: Path, config: Config, split: str) -> Iterator[Told]:
    """Asks the model and its rivals about every image; memory holds a batch of grids at a time."""
    import tensorflow as tf

    from apps.image_captioning import data
    from common.text import Vocabulary, standardize

    network, writer = load_network(run_dir)
    words = Vocabulary.load(run_dir / "vocab_words.txt")

    def batches(name: str) -> "tf.data.Dataset":
        found = data.load_split(config.data, name)
        return data.make_batches(
            found, words, config.data, network.encoder, batch_size=config.train.batch_size
        )

    asked = batches(split)

    @tf.function(input_signature=[asked.element_spec["grid"]])  # one trace for all batches
    def write(grid):
        return writer.as_text(writer.write(grid, beam=config.decoding.beam).token_ids[:, 0])

    known = _know(batches("train"))
    for batch in cli.progress(asked, "batches of images"):
        similar = _pooled(batch["grid"].numpy()) @ known.features.T
        nearest = similar.argmax(axis=1)
        people = [[one for one in row if one] for row in batch["captions"].numpy()]
        for row, caption in enumerate(write(batch["grid"]).numpy()):
            yield Told(
                tuple(one.decode() for one in standardize(tf.constant(people[row])).numpy()),
                {
                    "model": caption.decode(),
                    "most_frequent_caption": known.most_frequent,
                    "nearest_image": known.captions[nearest[row]][0],
                },
            )


def _know(batches: "tf.data.Dataset") -> Known:
    from common.text import standardize

    features, captions = [], []
    for batch in cli.progress(batches, "batches of training images"):
        features.append(_pooled(batch["grid"].numpy()))
        rows = standardize(batch["captions"]).numpy()
        captions += [[one.decode() for one in row if one] for row in rows]
    counts = Counter(one for row in captions for one in row)
    return Known(np.concatenate(features), captions, counts.most_common(1)[0][0])


def _pooled(grid: np.ndarray) -> np.ndarray:
    """Grids (batch, rows, columns, channels) -> float32 (batch, channels) of length 1."""
    mean = grid.mean(axis=(1, 2), dtype=np.float32)
    return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9)


def main(
    *,
    run_dir: Path,
    split: Literal["validation", "test"] = "validation",
    data_root: cli.DataRoot = None,
    data_cache_dir: cli.DataCacheDir = None,
    json: bool = False,
) -> None:
    """Scores a run of image captioning beside blind baselines.

    Args:
        run_dir: Folder that `train` wrote.
        split: Which part of the data.
        data_root: Folder with the official files, if it moved since training.
        data_cache_dir: Where prepared data is kept, if it moved.
        json: Print one JSON object instead of a table.
    """
    result = evaluate(run_dir, split, root=data_root, cache_dir=data_cache_dir)
    print(result.as_json() if json else result.as_table())


if __name__ == "__main__":
    cli.run(main)
