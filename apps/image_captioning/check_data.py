"""Looks at data before any training: sizes, words, broken rows, and whether it is enough.

python -m apps.image_captioning.check_data --data.name folder --data.root photos [--plot out.png]
"""

from pathlib import Path

from apps.image_captioning.config import DataConfig
from common.inputs import data_checks
from common.inputs.data_checks import Demand, Report, Tally
from common.runs import cli

NUM_DRAWN = 12  # images on the contact sheet
# A judgement: UCM-Captions, whose captions are learnt (README.md), has 1,680 for training.
MIN_IMAGES = 1000
# Of so many, a share such as exact_match has a standard error of 5 points at most.
MIN_VALIDATION_IMAGES = 100
# The word vector and softmax row of a rarer word learn little; published set-ups drop such words.
MIN_EXAMPLES = 5
MIN_LEARNABLE = 0.9  # share of the words of training captions that occur so often
MAX_UNKNOWN_WORDS = 0.05  # no word outside training can be written: one in twenty
MAX_COMMONEST = 0.5  # above, one caption for all images scores well and is learned first


def check(config: DataConfig, plot: Path | None = None) -> Report:
    """Reads all files of a data set once; draws a contact sheet to `plot`.

    Raises:
        UserError: a file is missing or no table.
    """
    from apps.image_captioning import datasets

    builder = datasets.unprepared(config)
    tally = data_checks.survey(builder, _count, size=NUM_DRAWN)
    if plot is not None and tally.sample:
        _draw(tally.sample, config.name, plot)
    lengths = tally.lengths["words of a caption"]
    notes = [
        f"over {config.max_caption_words} words, which are cut: "
        f"{sum(length > config.max_caption_words for length in lengths):,}",
        f"vocabulary: {len(tally.words['train']):,} words",
        f"captions: {len(tally.classes['train']):,} different; "
        f"{data_checks.commonest(tally.classes['train'], 3)}",
    ]
    return data_checks.Report(tally, notes, builder.broken, _demands(tally))


def _count(tally: Tally, part: str, record: dict) -> None:
    from apps.image_captioning.corpora import ptb

    captions = record["captions"]
    split = [ptb.tokenize(caption) for caption in captions]
    tally.counts[part].update({"images": 1, "captions": len(captions)})
    tally.classes[part].update(captions)
    tally.words[part].update(word for words in split for word in words)
    if part == "train":
        tally.lengths["words of a caption"] += map(len, split)
        tally.lengths["captions of an image"].append(len(captions))


def _demands(tally: Tally) -> list[Demand]:
    return [
        Demand("training images", tally.counts["train"]["images"], MIN_IMAGES, "add images"),
        Demand(
            "validation images",
            tally.counts["validation"]["images"],
            MIN_VALIDATION_IMAGES,
            "add images, or give more of them the split val",
        ),
        Demand(
            f"of the words of training captions seen {MIN_EXAMPLES} times or more",
            data_checks.frequent_share(tally.words["train"], MIN_EXAMPLES),
            MIN_LEARNABLE,
            "add captions, or write them with fewer rare words",
        ),
        tally.no_single_class(
            "captions", MAX_COMMONEST, "tell apart in captions what differs in images"
        ),
        tally.few_unknown_words(MAX_UNKNOWN_WORDS, "add captions"),
    ]


def _draw(records: list[dict], name: str, path: Path) -> None:
    import tensorflow as tf

    from common.inputs import images
    from common.plots import figures

    figures.images_with_texts(
        [images.decode(tf.constant(record["image"])).numpy() for record in records],
        ["\n".join(record["captions"][:2]) for record in records],
        title=f"{name}: training images, each with at most two of its captions",
        path=path,
    )


main = data_checks.command(check, DataConfig)

if __name__ == "__main__":
    cli.run(main)
