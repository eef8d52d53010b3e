"""Looks at data before any training: sizes, words, broken rows, and whether it is enough.

python -m apps.visual_qa.check_data --data.name folder --data.root photos [--plot out.png]
"""

from pathlib import Path

from apps.visual_qa.config import DataConfig
from common.inputs import data_checks
from common.inputs.data_checks import Demand, Report, Tally
from common.runs import cli

NUM_DRAWN = 12  # images on the contact sheet
# Of so many questions, the accuracy has a standard error of 5 points at most: sqrt(0.25 / 100).
MIN_VALIDATION_QUESTIONS = 100
# A class with fewer examples is hardly ever chosen.
MIN_EXAMPLES = 10
MIN_LEARNABLE = 0.9  # share of the training questions with an answer of so many examples
# No answer outside training can be given: the rest is the highest accuracy possible.
MAX_UNKNOWN_ANSWERS = 0.1
MAX_UNKNOWN_WORDS = 0.05  # one in twenty: of questions of seven words, a third lacks one
MAX_COMMONEST = 0.9  # above, always saying it is nearly as good as any model


def check(config: DataConfig, plot: Path | None = None) -> Report:
    """Reads all files of a data set once; `plot` is where a contact sheet is drawn.

    Raises:
        UserError: a file is missing or no table.
    """
    from apps.visual_qa import datasets

    builder = datasets.make_builder(config)
    tally = data_checks.survey(builder, _count, size=NUM_DRAWN)
    if plot is not None and tally.sample:
        _draw(tally.sample, config.name, plot)
    lengths = tally.lengths["words of a question"]
    notes = [
        f"over {config.max_question_words} words, which are cut: "
        f"{sum(length > config.max_question_words for length in lengths):,}",
        f"vocabulary: {len(tally.words['train']):,} words",
        f"answers: {len(tally.classes['train']):,}; "
        f"{data_checks.commonest(tally.classes['train'])}",
    ]
    return data_checks.Report(tally, notes, builder.broken, _demands(tally))


def _count(tally: Tally, part: str, record: dict) -> None:
    tally.counts[part].update({"images": 1, "questions": len(record["question"])})
    tally.classes[part].update(record["answer"])
    tally.texts[part, "words of a question"] += record["question"]


def _demands(tally: Tally) -> list[Demand]:
    train, validation = tally.classes["train"], tally.classes["validation"]
    fewer_classes = "join answers that mean the same, or add examples"
    return [
        Demand(
            "validation questions",
            validation.total(),
            MIN_VALIDATION_QUESTIONS,
            "add images, or give more of them the split val",
        ),
        Demand(
            f"of the training questions with an answer of {MIN_EXAMPLES} examples or more",
            data_checks.frequent_share(train, MIN_EXAMPLES),
            MIN_LEARNABLE,
            fewer_classes,
        ),
        tally.no_single_class("questions", MAX_COMMONEST, "add questions with other answers"),
        Demand(
            "of the validation questions with an answer that training lacks",
            data_checks.unknown_share(train, validation),
            MAX_UNKNOWN_ANSWERS,
            fewer_classes,
            most=True,
        ),
        tally.few_unknown_words(MAX_UNKNOWN_WORDS, "add questions"),
    ]


def _draw(records: list[dict], name: str, path: Path) -> None:
    import tensorflow as tf

    from common.inputs import images
    from common.plots import figures

    texts = []
    for record in records:
        pairs = list(zip(record["question"], record["answer"], strict=True))[:2]
        texts.append("\n".join(f"{question} {answer}" for question, answer in pairs))
    figures.images_with_texts(
        [images.decode(tf.constant(record["image"])).numpy() for record in records],
        texts,
        title=f"{name}: training images, each with at most two of its questions",
        path=path,
    )


main = data_checks.command(check, DataConfig)

if __name__ == "__main__":
    cli.run(main)
