"""Ensembles of the networks of `phoneme_table` on TIMIT: the mean of their posteriors, decoded.

    python -m benchmarks.phoneme_ensemble --members scratch DIR espeak DIR

Each DIR is a `--runs-dir` of `phoneme_table`, whose BiLSTMs of all seeds are the members. A
row for each DIR and, where there are several, one of all together. Figures are of validation, on
which each member's best epoch was chosen; members and decoding were not.
"""

import dataclasses
import datetime
import sys
from pathlib import Path

import tyro

from benchmarks import commands, phoneme_table
from common.runs import cli, files
from common.runs.directory import RunDirectory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    members: dict[str, Path]
    """Name of a row, and the folder with its runs."""
    folds: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    name: str = "phoneme_timit_ensembles"
    """Of the result file."""


def main(options: Options) -> None:
    """Scores every row; writes and prints them."""
    cli.start_tensorflow_quietly()
    rows = {name: [folder] for name, folder in options.members.items()}
    if len(rows) > 1:
        rows["all"] = list(options.members.values())
    report = {
        "command": " ".join(["python -m benchmarks.phoneme_ensemble", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "split": "validation",
        "rows": {},
    }
    for name, folders in rows.items():
        members = [_runs(folders, fold) for fold in options.folds]
        numbers = {len(runs) for runs in members}
        if len(numbers) > 1 or 0 in numbers:
            sys.exit(f"expected as many runs of each fold in {folders}, found {numbers}")
        found = phoneme_table.summary([[score(runs) for runs in members]])
        report["rows"][name] = {"networks": numbers.pop(), **found}
        files.write_json(commands.RESULTS / f"{options.name}.json", report)
        cells = [100 * found[metric]["mean"] for metric in phoneme_table.METRICS]
        print(f"{name:<22}{'  '.join(f'{cell:6.1f}' for cell in cells)}", flush=True)


def _runs(folders: list[Path], fold: int) -> list[Path]:
    return [run for one in folders for run in sorted(one.glob(f"timit/BiLSTM/*-{fold}"))]


def score(folders: list[Path]) -> dict[str, dict[str, float]]:
    """The scores of every validation speaker of the mean network.

    Args:
        folders: runs on the same data with the same features, so with the same phones.
    """
    import tensorflow as tf

    from apps.phoneme_tagging import data, model
    from apps.phoneme_tagging.config import Config
    from apps.phoneme_tagging.tagging import scoring
    from common.inputs import pipeline

    runs = [RunDirectory.open(folder, app=phoneme_table.APP) for folder in folders]
    config = runs[0].read_config(Config)
    taggers = [model.load_inference(folder) for folder in folders]
    names = taggers[0].phones.numpy()[:-1].astype(str)
    decoder = taggers[0].decoder

    @tf.function(reduce_retracing=True)
    def tag(features, mask):
        inputs = {"features": features, "frame_mask": mask}
        members = [tf.nn.softmax(tagger.network(inputs)["logits"]) for tagger in taggers]
        posteriors = tf.reduce_mean(tf.stack(members), axis=0)
        return tf.argmax(posteriors, axis=-1), decoder(tf.math.log(posteriors + 1e-9), mask)

    examples = data.make_examples(data.load_split(config.data, "validation"), config.model)
    rows = []
    for batch in pipeline.evaluation_batches(examples, batch_size=config.train.batch_size):
        tagged = tag(batch["features"], batch["frame_mask"])
        rows += scoring.utterances(batch, *(names[ids.numpy()] for ids in tagged))
    return scoring.by_speaker(rows)


if __name__ == "__main__":
    main(tyro.cli(Options))
