"""Scores a run: captions by beam search against people's, beside blind baselines.

python -m apps.image_captioning.evaluate --run-dir runs/captions [--split validation|test] [--json]
"""

import dataclasses
from collections import Counter, defaultdict
from pathlib import Path
from typing import Literal

from apps.image_captioning.config import APP, Config
from common.runs import cli, directory
from common.scoring.evaluation import Evaluation


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
        rerank: choose among a wider beam, by agreement with captions of similar training images
            and with samples of the network.
        root: where the official files are now, if not where training found them.
        cache_dir: likewise for prepared data.

    Raises:
        UserError: no run of this app, or the data has no such split.
    """
    run, config = directory.open_run(
        run_dir, app=APP, config_type=Config, root=root, cache_dir=cache_dir
    )

    import tensorflow as tf

    from apps.image_captioning import data, model
    from apps.image_captioning.captioning import scoring
    from apps.image_captioning.captioning.neighbours import Neighbours, Reranking

    network, writer = model.load_network(run.path)
    neighbours = Neighbours.load(run.path)
    records = data.load_split(config.data, split)
    batches = data.make_batches(records, writer.words, config, network.encoder).map(
        lambda batch: {"grid": network.grid_of(batch), "captions": batch["captions"]}
    )

    @tf.function(input_signature=[batches.element_spec["grid"]])  # one trace for all batches
    def write(grid):
        return writer.write(grid, beam=config.decoding.beam)

    decode = Reranking(writer, neighbours) if rerank else write
    training = Counter(caption for of_image in neighbours.captions for caption in of_image)
    ((most_frequent, _),) = training.most_common(1)
    references: list[list[str]] = []
    captions: dict[str, list[str]] = defaultdict(list)  # of the model and its baselines
    for batch in cli.progress(batches, "batches of images"):
        references += scoring.references_of(batch)
        written = writer.as_text(decode(batch["grid"]).token_ids[:, 0]).numpy()
        captions["model"] += [caption.decode() for caption in written]
        captions["most_frequent_caption"] += [most_frequent] * len(written)
        similar = neighbours.similar(batch["grid"].numpy())
        captions["nearest_image"] += [row.captions[0][0] for row in similar]
        captions["consensus_12"] += [neighbours.consensus(row) for row in similar]
    # Each image gets the caption of the one before.
    captions["shuffled_images"] = [captions["model"][-1], *captions["model"][:-1]]
    baselines = {name: scoring.score(texts, references) for name, texts in captions.items()}
    metrics = baselines.pop("model")
    meteor = scoring.meteor(captions["model"], references)
    copied = scoring.copied_share(captions["model"], training)
    result = Evaluation(
        app=APP,
        data=config.data.name,
        split=split,
        num_examples=len(references),
        metrics=metrics if meteor is None else {**metrics, "meteor": meteor},
        baselines=baselines,
        details={"captions": {"copied from training": copied}},
        notes=() if meteor is not None else ("METEOR is left out: install Java for it",),
    )
    run.write_json(f"metrics-{split}.json", dataclasses.asdict(result))
    return result


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
        rerank: Choose among a wider beam, by agreement with captions of similar training images
            and with samples of the network.
        data_root: Folder with the official files, if it moved since training.
        data_cache_dir: Where prepared data is kept, if it moved.
        json: Print one JSON object instead of a table.
    """
    result = evaluate(run_dir, split, rerank=rerank, root=data_root, cache_dir=data_cache_dir)
    print(result.as_json() if json else result.as_table())


if __name__ == "__main__":
    cli.run(main, app=APP)
