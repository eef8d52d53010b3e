"""Scores a run: captions by beam search against people's, beside blind baselines.

python -m apps.image_captioning.evaluate --run-dir runs/captions [--split validation|test] [--json]
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from apps.image_captioning.config import APP, Config
from common.runs import cli, directory
from common.scoring.evaluation import Evaluation

if TYPE_CHECKING:
    from apps.image_captioning.captioning.neighbours import Neighbours

BLIND = ("most_frequent_caption", "nearest_image", "consensus_12", "shuffled_images")


class Row(NamedTuple):
    """One image: what people write about it, and what the model and its baselines do."""

    references: list[str]
    captions: dict[str, str]  # by "model" and the names in BLIND


def evaluate(
    run_dir: Path,
    split: str = "validation",
    *,
    rerank: bool = False,
    root: Path | None = None,
    cache_dir: Path | None = None,
) -> Evaluation:
    """Scores the best model of a run on a split and writes metrics-<split>.json there.

    Args:
        run_dir: written by `train`.
        split: "train", "validation" or "test".
        rerank: choose among a wider beam and the captions of the most similar training image, by
            agreement with captions of similar images and with samples of the network.
        root: where the official files are now, if not where training found them.
        cache_dir: likewise for prepared data.

    Raises:
        UserError: no run of this app, or the data has no such split.
    """
    run, config = directory.open_run(
        run_dir, app=APP, config_type=Config, root=root, cache_dir=cache_dir
    )

    from apps.image_captioning.captioning import scoring
    from apps.image_captioning.captioning.neighbours import Neighbours

    neighbours = Neighbours.load(run.path)
    rows = list(_make_rows(run.path, config, split, neighbours, rerank=rerank))
    # Another image's caption: that of the image before.
    captions = [row.captions["model"] for row in rows]
    for row, other in zip(rows, [captions[-1], *captions], strict=False):
        row.captions["shuffled_images"] = other
    references = [row.references for row in rows]
    metrics = {
        name: scoring.score([row.captions[name] for row in rows], references)
        for name in ("model", *BLIND)
    }
    meteor = scoring.meteor(captions, references)
    metrics["model"] |= {} if meteor is None else {"meteor": meteor}
    training = {caption for of_image in neighbours.captions for caption in of_image}
    copied = scoring.copied_share(captions, training)
    result = Evaluation(
        app=APP,
        data=config.data.name,
        split=split,
        num_examples=len(rows),
        metrics=metrics.pop("model"),
        baselines=metrics,
        details={"captions": {"copied from training": copied}},
        notes=() if meteor is not None else ("METEOR is left out: install Java for it",),
    )
    run.write_json(f"metrics-{split}.json", dataclasses.asdict(result))
    return result


def _make_rows(
    run_dir: Path, config: Config, split: str, neighbours: "Neighbours", *, rerank: bool
) -> Iterator[Row]:
    """Captions of every image; memory holds a batch of grids at a time."""
    import tensorflow as tf

    from apps.image_captioning import data, model
    from apps.image_captioning.captioning import scoring
    from apps.image_captioning.captioning.reranking import Reranking
    from common.inputs.text import Vocabulary

    network, writer = model.load_network(run_dir)
    words = Vocabulary.load(run_dir / "vocab_words.txt")
    records = data.load_split(config.data, split)
    batches = data.make_batches(records, words, config, network.encoder).map(
        lambda batch: {"grid": network.grid_of(batch), "captions": batch["captions"]}
    )

    @tf.function(input_signature=[batches.element_spec["grid"]])  # one trace for all batches
    def write(grid):
        return writer.write(grid, beam=config.decoding.beam)

    decode = Reranking(writer, neighbours) if rerank else write
    counts = Counter(caption for captions in neighbours.captions for caption in captions)
    ((most_frequent, _),) = counts.most_common(1)
    for batch in cli.progress(batches, "batches of images"):
        decoded = decode(batch["grid"])
        captions = writer.as_text(decoded.token_ids[:, 0]).numpy()
        similar = neighbours.similar(batch["grid"].numpy())
        references = scoring.references_of(batch)
        for caption, nearest, of_image in zip(captions, similar, references, strict=True):
            baselines = {
                "most_frequent_caption": most_frequent,
                "nearest_image": nearest.captions[0][0],
                "consensus_12": neighbours.consensus(nearest),
            }
            yield Row(of_image, {"model": caption.decode(), **baselines})


def main(
    *,
    run_dir: Path,
    split: Literal["validation", "test"] = "validation",
    rerank: bool = False,
    data_root: cli.DataRoot = None,
    data_cache_dir: cli.DataCacheDir = None,
    json: bool = False,
) -> None:
    """Scores a run of image captioning beside blind baselines.

    Args:
        run_dir: Folder that `train` wrote.
        split: Which part of the data.
        rerank: Choose among a wider beam and the captions of the most similar training image, by
            agreement with captions of similar images and with samples of the network.
        data_root: Folder with the official files, if it moved since training.
        data_cache_dir: Where prepared data is kept, if it moved.
        json: Print one JSON object instead of a table.
    """
    result = evaluate(run_dir, split, rerank=rerank, root=data_root, cache_dir=data_cache_dir)
    print(result.as_json() if json else result.as_table())


if __name__ == "__main__":
    cli.run(main, app=APP)
