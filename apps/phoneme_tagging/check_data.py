"""Checks data before any training: sizes, words, broken rows, and whether it is enough.

python -m apps.phoneme_tagging.check_data --data.name folder --data.root recordings [--plot out.png]
"""

from pathlib import Path

from apps.phoneme_tagging.config import DataConfig
from common.inputs import data_checks
from common.inputs.data_checks import Demand, Report, Tally
from common.runs import cli

SHEET_SIZE = 4  # utterances on the contact sheet
# What the sample of TIMIT holds from which a network was trained from scratch.
MIN_MINUTES = 4.0
# Of so many phones, a phone error rate of 30 % has a standard error of 2.6 points.
MIN_VALIDATION_PHONES = 300
MIN_EXAMPLES = 10  # of a phone; rarer ones are hardly ever said
MIN_LEARNABLE = 0.98  # share of the phones of validation that occur so often in training
MAX_COMMONEST = 0.5  # above, half the phones are silence, or one label stands for many


def check(config: DataConfig, plot: Path | None = None) -> Report:
    """Reads all files of a data set once.

    Args:
        config: which, and where.
        plot: where a contact sheet is drawn.

    Raises:
        UserError: a file is missing or no table.
    """
    from apps.phoneme_tagging import datasets

    builder = datasets.make_builder(config)
    tally = data_checks.survey(builder, _count, size=SHEET_SIZE)
    if plot is not None and tally.sample:
        _draw(tally.sample, config.name, plot)
    notes = [
        f"phones: {len(tally.classes['train'])} of 61; "
        f"{data_checks.commonest(tally.classes['train'])}",
        f"vocabulary of the transcripts: {len(tally.words['train']):,} words",
    ]
    return data_checks.Report(tally, notes, builder.broken, _demands(tally))


def _count(tally: Tally, part: str, record: dict) -> None:
    from common.inputs.audio import SAMPLE_RATE

    phones = record["phones"]
    tally.counts[part].update({"recordings": 1, "phones": len(phones)})
    tally.classes[part].update(segment["phone"] for segment in phones)
    tally.words[part].update(record["text"].lower().split())
    if part == "train":
        tally.lengths["seconds of a recording"].append(len(record["waveform"]) / SAMPLE_RATE)
        tally.lengths["phones of a recording"].append(len(phones))
        tally.lengths["milliseconds of a phone"] += [
            1000 * (segment["end"] - segment["start"]) / SAMPLE_RATE for segment in phones
        ]


def _demands(tally: Tally) -> list[Demand]:
    train, validation = tally.classes["train"], tally.classes["validation"]
    learnable = sum(count for phone, count in validation.items() if train[phone] >= MIN_EXAMPLES)
    return [
        Demand(
            "minutes of training speech",
            sum(tally.lengths["seconds of a recording"]) / 60,
            MIN_MINUTES,
            "record more",
        ),
        Demand(
            "phones in validation",
            validation.total(),
            MIN_VALIDATION_PHONES,
            "record more, of other speakers where you can",
        ),
        Demand(
            f"of the phones of validation said {MIN_EXAMPLES} times or more in training",
            learnable / max(validation.total(), 1),
            MIN_LEARNABLE,
            "record words with the rare phones, or join phones with --data.phone-map",
        ),
        tally.no_single_class(
            "phones", MAX_COMMONEST, "look at the labels: --data.tier, --data.phone-map"
        ),
    ]


def _draw(records: list[dict], name: str, path: Path) -> None:
    from apps.phoneme_tagging.tagging import plots

    recordings = []
    for record in records:
        phones = [tuple(segment.values()) for segment in record["phones"]]
        recordings.append((record["utterance_id"], record["waveform"] / 32768.0, phones))
    title = f"{name}: training recordings with their phones, at most 3 seconds of each"
    plots.labelled_spectrograms(recordings, title=title, path=path)


main = data_checks.command(check, DataConfig)

if __name__ == "__main__":
    cli.run(main)
