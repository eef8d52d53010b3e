"""Scores a run: captions by beam search against people's, beside blind baselines.

python -m apps.image_captioning.evaluate --run-dir runs/captions [--split validation|test] [--json]
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from apps.image_captioning.config import APP, Config
from common.runs import cli
from common.runs.directory import RunDirectory
from common.scoring.evaluation import Evaluation

if TYPE_CHECKING:
    from apps.image_captioning.neighbours import Neighbours

BLIND = ("most_frequent_caption", "nearest_image", "consensus_12", "shuffled_images")


class Told(NamedTuple):
    """One image with what people, the model and its rivals say about it."""

    references: list[str]
    given: dict[str, str]  # by "model" and the names in BLIND


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
            agreement with captions of similar ones and with those that the model draws.
        root: where the official files are now, if not where training found them.
        cache_dir: likewise for prepared data.

    Raises:
        UserError: no run of this app, or the data has no such split.
    """
    from apps.image_captioning import scoring
    from apps.image_captioning.neighbours import Neighbours

    run = RunDirectory.open(run_dir, app=APP)
    config = run.read_config(Config)
    where = {"root": root or config.data.root, "cache_dir": cache_dir or config.data.cache_dir}
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, **where))

    known = Neighbours.load(run.path)
    told = list(_tell_all(run.path, config, split, known, rerank=rerank))
    # Another image's caption: what the model says about the image before.
    own = [row.given["model"] for row in told]
    for row, other in zip(told, [own[-1], *own], strict=False):
        row.given["shuffled_images"] = other
    references = [row.references for row in told]
    found = {
        name: scoring.score([row.given[name] for row in told], references)
        for name in ("model", *BLIND)
    }
    meteor = scoring.meteor(own, references)
    found["model"] |= {} if meteor is None else {"meteor": meteor}
    seen = {one for captions in known.captions for one in captions}
    result = Evaluation(
        app=APP,
        data=config.data.name,
        split=split,
        num_examples=len(told),
        metrics=found.pop("model"),
        baselines=found,
        details={"captions": {"copied from training": scoring.copied_share(own, seen)}},
        notes=() if meteor is not None else ("METEOR is left out: install Java for it",),
    )
    run.write_json(f"metrics-{split}.json", dataclasses.asdict(result))
    return result


def _tell_all(
    run_dir: Path, config: Config, split: str, known: "Neighbours", *, rerank: bool
) -> Iterator[Told]:
    """Asks the model and its rivals about every image; memory holds a batch of grids at a time."""
    import tensorflow as tf

    from apps.image_captioning import data
    from apps.image_captioning.model import load_network
    from apps.image_captioning.reranking import Reranking
    from common.inputs.text import Vocabulary

    network, writer = load_network(run_dir)
    words = Vocabulary.load(run_dir / "vocab_words.txt")
    batches = data.make_batches(
        data.load_split(config.data, split), words, config, network.encoder
    ).map(lambda batch: {"grid": network.grid_of(batch), "captions": batch["captions"]})

    @tf.function(input_signature=[batches.element_spec["grid"]])  # one trace for all batches
    def write(grid):
        return writer.write(grid, beam=config.decoding.beam)

    write = Reranking(writer, known) if rerank else write
    counts = Counter(one for captions in known.captions for one in captions)
    ((most_frequent, _),) = counts.most_common(1)
    for batch in cli.progress(batches, "batches of images"):
        people, found = batch["captions"].numpy(), write(batch["grid"])
        own = writer.as_text(found.token_ids[:, 0]).numpy()
        for row, similar in enumerate(known.similar(batch["grid"].numpy())):
            given = {
                "model": own[row].decode(),
                "most_frequent_caption": most_frequent,
                "nearest_image": similar.captions[0][0],
                "consensus_12": known.consensus(similar),
            }
            yield Told([one.decode() for one in people[row] if one], given)


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
            agreement with captions of similar ones and with those that the model draws.
        data_root: Folder with the official files, if it moved since training.
        data_cache_dir: Where prepared data is kept, if it moved.
        json: Print one JSON object instead of a table.
    """
    result = evaluate(run_dir, split, rerank=rerank, root=data_root, cache_dir=data_cache_dir)
    print(result.as_json() if json else result.as_table())


if __name__ == "__main__":
    cli.run(main, app=APP)
