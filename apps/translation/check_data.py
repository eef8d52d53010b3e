"""Looks at data before any training: sizes, languages, broken rows, and whether it is enough.

python -m apps.translation.check_data --data.name folder --data.root texts [--plot out.png]
"""

import textwrap
from pathlib import Path

from apps.translation.config import DataConfig
from common.inputs import data_checks
from common.inputs.data_checks import Demand, Report, Tally
from common.runs import cli

NUM_DRAWN = 12  # pairs on the contact sheet
# A judgement: with 10,000 short pairs an LSTM is beaten by the nearest training pair (README.md).
MIN_PAIRS = 5000
# Of so many, BLEU has a standard error of two to three points (Koehn 2004).
MIN_VALIDATION_PAIRS = 100
MAX_UNKNOWN_WORDS = 0.15  # of a source: they are read in pieces, and their translation is a guess
MAX_COMMONEST = 0.05  # one target for many sources is learned first, and written for all
MAX_EQUAL = 0.2  # texts that are their own translation teach to copy


def check(config: DataConfig, plot: Path | None = None) -> Report:
    """Reads all files of a data set once; draws some pairs to `plot`.

    Raises:
        UserError: a file is missing or no table.
    """
    from apps.translation import datasets

    builder = datasets.make_builder(config)
    tally = data_checks.survey(builder, _count, size=NUM_DRAWN)
    if plot is not None and tally.sample:
        _draw(tally.sample, config.name, plot)
    sources, targets = (tally.classes[f"train {side}"] for side in ("source", "target"))
    notes = [
        f"vocabulary: {len(tally.words['train']):,} words of sources",
        f"sources: {len(sources):,} different; targets: {len(targets):,} different",
        f"targets: {data_checks.commonest(targets, 3)}",
    ]
    return data_checks.Report(tally, notes, builder.broken, _demands(tally))


def _count(tally: Tally, part: str, record: dict) -> None:
    source, target, language = (record[n] for n in ("source", "target", "target_language"))
    tally.counts[part].update({"pairs": 1, f"into {language}": 1})
    tally.texts[part, "words of a source"].append(source)
    tally.classes[f"{part} source"][source] += 1
    tally.classes[f"{part} target"][target] += 1
    if part == "train":
        tally.classes["train"][target] += 1
        tally.classes["equal on both sides"][target] += source == target
        tally.lengths["letters of a target"].append(len(target))


def _demands(tally: Tally) -> list[Demand]:
    train = tally.counts["train"]
    leaked = sum(
        count
        for source, count in tally.classes["validation source"].items()
        if source in tally.classes["train source"]
    )
    validation = tally.counts["validation"]["pairs"]
    return [
        Demand("training pairs", train["pairs"], MIN_PAIRS, "add pairs"),
        Demand("validation pairs", validation, MIN_VALIDATION_PAIRS, "add pairs"),
        Demand(
            "of the training pairs equal on both sides",
            tally.classes["equal on both sides"].total() / max(train["pairs"], 1),
            MAX_EQUAL,
            "remove them, the network would learn to copy",
            most=True,
        ),
        Demand(
            "of the validation sources among those of training",
            leaked / max(validation, 1),
            MAX_EQUAL,
            "remove them: what is known by heart measures nothing",
            most=True,
        ),
        tally.no_single_class("targets", MAX_COMMONEST, "remove pairs with that target"),
        tally.few_unknown_words(MAX_UNKNOWN_WORDS, "add pairs"),
    ]


def _draw(records: list[dict], name: str, path: Path) -> None:
    from common.plots import figures

    figure = figures.start(path, size=(9, 0.6 + 0.5 * len(records)))
    axis = figure.subplots()
    axis.set_axis_off()
    for row, record in enumerate(records):
        source, target = (textwrap.shorten(record[side], 70) for side in ("source", "target"))
        lines = f"{source}\n{record['target_language']}: {target}"
        place = 1 - (row + 0.5) / len(records)
        axis.text(0, place, lines, fontsize=8, va="center", parse_math=False)
    figures.finish(figure, title=f"{name}: training pairs", path=path)


main = data_checks.command(check, DataConfig)

if __name__ == "__main__":
    cli.run(main)
