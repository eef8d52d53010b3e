"""Scores a run: frames right, phone error rate, boundaries, beside rivals without memory.

    python -m apps.phoneme_tagging.evaluate --run-dir runs/phones [--split validation|test] [--json]

Frame accuracies are of the network's most probable phone; the phone error rate is of the decoded
string, folded to 39 phones after Lee & Hon (1989), silence included.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from apps.phoneme_tagging.config import APP, Config
from common import cli
from common.evaluation import Evaluation
from common.runs import RunDirectory

if TYPE_CHECKING:
    import tensorflow as tf

    from apps.phoneme_tagging.scoring import Tagged


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

    from apps.phoneme_tagging import scoring

    tagged = _tag_all(run, config, split)
    found = {
        name: scoring.score(rows, phone_set=config.model.phone_set) for name, rows in tagged.items()
    }
    rows = tagged["model"]
    result = Evaluation(
        app=APP,
        data=config.data.name,
        split=split,
        num_examples=len(rows),
        metrics=found.pop("model"),
        baselines=found,
        notes=(f"{sum(len(row.frames) for row in rows)} frames of 10 ms",),
        details=scoring.details(rows),
    )
    run.write_json(f"metrics-{split}.json", dataclasses.asdict(result))
    return result


def _tag_all(run: RunDirectory, config: Config, split: str) -> dict[str, list["Tagged"]]:
    """Every utterance as the model and its rivals tag it, by name."""
    import tensorflow as tf

    from apps.phoneme_tagging import baselines, data
    from apps.phoneme_tagging.model import Decoder
    from apps.phoneme_tagging.predict import load_language_model
    from common import pipeline
    from common.text import Vocabulary

    phones = Vocabulary.load(run.path / "vocab_phones.txt")
    network = run.load_model()
    normalize = network.get_layer("normalize")
    language = load_language_model(run.path)
    decode = tf.function(Decoder(config.model, language), reduce_retracing=True)
    ask = tf.function(
        lambda inputs: network(inputs, training=False)["logits"], reduce_retracing=True
    )

    examples = data.with_targets(
        data.make_examples(data.load_split(config.data, "train"), config.model),
        phones,
        phone_set=config.model.phone_set,
    )
    rivals = baselines.fit(
        (
            (normalize(one["features"][None])[0].numpy(), one["phone_id"].numpy())
            for one in examples
        ),
        num_phones=len(phones),
        num_frames=int(language.frame_counts.sum()),
    )
    batches = pipeline.evaluation_batches(
        data.make_examples(data.load_split(config.data, split), config.model),
        batch_size=config.train.batch_size,
    )
    names = np.asarray(phones.tokens)
    found: dict[str, list[Tagged]] = {name: [] for name in ("model", *rivals)}
    for batch in cli.progress(batches, "utterances"):
        mask = batch["frame_mask"]
        logits = {"model": ask({"features": batch["features"], "frame_mask": mask})}
        normalized = normalize(batch["features"]).numpy()
        lengths = mask.numpy().sum(axis=1)
        for name, rival in rivals.items():
            padded = np.zeros(logits["model"].shape, np.float32)
            for row, length in enumerate(lengths):
                padded[row, :length] = rival(normalized[row, :length])
            logits[name] = tf.constant(padded)
        for name, values in logits.items():
            framewise = names[tf.argmax(values, axis=-1).numpy()]
            decoded = names[decode(values, mask).numpy()]
            found[name] += _rows(batch, lengths, framewise, decoded)
    return found


def _rows(
    batch: dict[str, "tf.Tensor"], lengths: np.ndarray, framewise: np.ndarray, decoded: np.ndarray
) -> Iterator["Tagged"]:
    """The utterances of a batch, without padding."""
    from apps.phoneme_tagging.phones import PHONES_61
    from apps.phoneme_tagging.scoring import Tagged
    from common.audio import SAMPLE_RATE

    named = np.asarray([*PHONES_61, ""])[batch["reference_id"].numpy()]  # -1 is ""
    strings, starts = batch["phone"].numpy(), batch["start"].numpy()
    for row, length in enumerate(lengths):
        spoken = strings[row] != b""
        yield Tagged(
            frames=named[row, :length].tolist(),
            framewise=framewise[row, :length].tolist(),
            decoded=decoded[row, :length].tolist(),
            phones=[phone.decode() for phone in strings[row][spoken]],
            starts=(starts[row][spoken] / SAMPLE_RATE).tolist(),
        )


def main(
    *,
    run_dir: Path,
    split: Literal["validation", "test"] = "validation",
    data_root: cli.DataRoot = None,
    data_cache_dir: cli.DataCacheDir = None,
    json: bool = False,
) -> None:
    """Scores a run of phoneme tagging beside rivals without memory.

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
