"""Scores a run: frames right, phone error rate, boundaries, beside rivals without memory.

    python -m apps.phoneme_tagging.evaluate --run-dir runs/phones [--split validation|test] [--json]

Frame accuracies are of the network's most probable phone; the phone error rate is of the decoded
string, folded to 39 phones after Lee & Hon (1989), silence included.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from apps.phoneme_tagging.config import APP, Config
from common.runs import cli
from common.runs.directory import RunDirectory
from common.scoring.evaluation import Evaluation

if TYPE_CHECKING:
    from apps.phoneme_tagging.model import LanguageModel
    from apps.phoneme_tagging.scoring import Tagged
    from common.inputs.text import Vocabulary


def evaluate(
    run_dir: Path,
    split: str = "validation",
    *,
    root: Path | None = None,
    cache_dir: Path | None = None,
    with_rivals: bool = True,
) -> Evaluation:
    """Scores the best model of a run on a split; writes metrics-<split>.json there.

    Beside it stand speakers-<split>.json and, counted in frames, confusion-<split>.txt and .png.

    Args:
        run_dir: written by `train`.
        split: "train", "validation" or "test".
        root: where the official files are now, if not where training found them.
        cache_dir: likewise for prepared data.
        with_rivals: without them, which are trained anew for each run, many runs are scored faster.

    Raises:
        UserError: no run of this app, or the data has no such split.
    """
    run = RunDirectory.open(run_dir, app=APP)
    config = run.read_config(Config)
    where = {"root": root or config.data.root, "cache_dir": cache_dir or config.data.cache_dir}
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, **where))

    from apps.phoneme_tagging import confusion, plots, scoring

    tagged = _tag_all(run, config, split, with_rivals=with_rivals)
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
    run.write_json(f"speakers-{split}.json", scoring.by_speaker(rows))
    run.write_text(f"confusion-{split}.txt", confusion.as_text(rows))
    plots.confusions(
        rows, title=f"{config.data.name}, {split}", path=run.path / f"confusion-{split}.png"
    )
    return result


def _tag_all(
    run: RunDirectory, config: Config, split: str, *, with_rivals: bool
) -> dict[str, list["Tagged"]]:
    """Every utterance as the model and its rivals tag it, by name."""
    import tensorflow as tf

    from apps.phoneme_tagging import data, scoring
    from apps.phoneme_tagging.model import Decoder
    from apps.phoneme_tagging.predict import load_language_model
    from common.inputs import pipeline
    from common.inputs.text import Vocabulary

    phones = Vocabulary.load(run.path / "vocab_phones.txt")
    network = run.load_model()
    language = load_language_model(run.path)
    decode = tf.function(Decoder(config.model, language), reduce_retracing=True)
    ask = tf.function(lambda inputs: network(inputs, training=False), reduce_retracing=True)

    rivals = _fit_rivals(config, phones, language) if with_rivals else {}
    batches = pipeline.evaluation_batches(
        data.make_examples(data.load_split(config.data, split), config.model),
        batch_size=config.train.batch_size,
    )
    names = np.asarray(phones.tokens)
    found: dict[str, list[Tagged]] = {name: [] for name in ("model", *rivals)}
    for batch in cli.progress(batches, "utterances"):
        mask = batch["frame_mask"]
        logits = {"model": ask({"features": batch["features"], "frame_mask": mask})["logits"]}
        lengths = mask.numpy().sum(axis=1)
        for name, rival in rivals.items():
            padded = np.zeros(logits["model"].shape, np.float32)
            for row, length in enumerate(lengths):
                padded[row, :length] = rival(batch["features"][row, :length].numpy())
            logits[name] = tf.constant(padded)
        for name, values in logits.items():
            framewise = names[tf.argmax(values, axis=-1).numpy()]
            decoded = names[decode(values, mask).numpy()]
            found[name] += scoring.utterances(batch, framewise, decoded)
    return found


def _fit_rivals(config: Config, phones: "Vocabulary", language: "LanguageModel") -> dict:
    """The rivals, by name, of the training part."""
    from apps.phoneme_tagging import baselines, data

    examples = data.with_targets(
        data.make_examples(data.load_split(config.data, "train"), config.model),
        phones,
        phone_set=config.model.phone_set,
    )
    return baselines.fit(
        ((one["features"], one["phone_id"]) for one in examples.as_numpy_iterator()),
        num_phones=len(phones),
        num_frames=int(language.frame_counts.sum()),
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
    cli.run(main, app=APP)
