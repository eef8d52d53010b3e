"""Scores a run: frames right, phone error rate, boundaries, beside baselines without memory.

    python -m apps.phoneme_tagging.evaluate --run-dir runs/phones [--split validation|test] [--json]

Frame accuracies are of the network's most probable phone; the phone error rate is of the decoded
string, folded to 39 phones after Lee & Hon (1989), silence included.
"""

import collections
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from apps.phoneme_tagging.config import APP, Config
from common.runs import cli, directory
from common.runs.directory import RunDirectory
from common.scoring.evaluation import Evaluation

if TYPE_CHECKING:
    from apps.phoneme_tagging.tagging.scoring import Tagged


def evaluate(
    run_dir: Path,
    split: str = "validation",
    *,
    root: Path | None = None,
    cache_dir: Path | None = None,
    with_baselines: bool = True,
) -> Evaluation:
    """Scores the best model of a run on a split; writes metrics-<split>.json there.

    Beside it stand speakers-<split>.json and, counted in frames, confusion-<split>.txt and .png.

    Args:
        run_dir: written by `train`.
        split: "train", "validation" or "test".
        root: where the official files are now, if not where training found them.
        cache_dir: likewise for prepared data.
        with_baselines: without them many runs are scored faster.

    Raises:
        UserError: no run of this app, or the data has no such split.
    """
    run, config = directory.open_run(
        run_dir, app=APP, config_type=Config, root=root, cache_dir=cache_dir
    )

    from apps.phoneme_tagging.tagging import plots, scoring

    tagged = _tag_all(run, config, split, with_baselines=with_baselines)
    phone_set = config.model.phone_set
    scores = {name: scoring.score(rows, phone_set=phone_set) for name, rows in tagged.items()}
    rows = tagged["model"]
    result = Evaluation(
        app=APP,
        data=config.data.name,
        split=split,
        num_examples=len(rows),
        metrics=scores.pop("model"),
        baselines=scores,
        notes=(f"{sum(len(row.frames) for row in rows)} frames of 10 ms",),
        details=scoring.details(rows),
    )
    run.write_json(f"metrics-{split}.json", dataclasses.asdict(result))
    run.write_json(f"speakers-{split}.json", scoring.by_speaker(rows))
    run.write_text(f"confusion-{split}.txt", scoring.confusions_as_text(rows))
    picture = run.path / f"confusion-{split}.png"
    with run.adding():
        plots.confusion_matrix(rows, title=f"{config.data.name}, {split}", path=picture)
    return result


def _tag_all(
    run: RunDirectory, config: Config, split: str, *, with_baselines: bool
) -> dict[str, list["Tagged"]]:
    """Every utterance as the model and the baselines tag it, by name."""
    import tensorflow as tf

    from apps.phoneme_tagging import data, model
    from apps.phoneme_tagging.tagging import baselines, scoring
    from apps.phoneme_tagging.tagging.viterbi import PhoneCounts
    from common.inputs import pipeline

    tagger = model.load_inference(run.path)
    names = tagger.phones.numpy()[:-1].astype(str)
    network = tf.function(tagger.network, reduce_retracing=True)
    decode = tf.function(tagger.decoder, reduce_retracing=True)
    classify = None
    if with_baselines and (run.path / baselines.FILE).exists():
        classify = run.load_model(baselines.FILE)
    elif with_baselines:
        # The first evaluation fits them: training need not wait for it.
        targets = data.make_targets(names.tolist(), phone_set=config.model.phone_set)
        training = data.make_examples(data.load_split(config.data, "train"), config.model)
        rows = training.map(targets).as_numpy_iterator()
        classify = baselines.fit(
            ((row["features"], row["phone_id"]) for row in rows),
            num_phones=len(names),
            num_frames=int(PhoneCounts.load(run.path / "phone_counts.json").frames.sum()),
        )
        run.save_model(classify, baselines.FILE)

    examples = data.make_examples(data.load_split(config.data, split), config.model)
    batches = pipeline.evaluation_batches(examples, batch_size=config.train.batch_size)
    tagged = collections.defaultdict(list)
    for batch in cli.progress(batches, "utterances"):
        features, mask = batch["features"], batch["frame_mask"]
        logits = {"model": network({"features": features, "frame_mask": mask})["logits"]}
        if classify is not None:
            logits |= baselines.logits(classify, features.numpy(), mask.numpy())
        for name, values in logits.items():
            framewise = names[tf.argmax(values, axis=-1).numpy()]
            decoded = names[decode(values, mask).numpy()]
            tagged[name] += scoring.utterances(batch, framewise, decoded)
    return tagged


main = cli.evaluate_command(evaluate)


if __name__ == "__main__":
    cli.run(main, app=APP)
