"""Looks at data before any training: sizes, words, broken rows, and whether it is enough.

python -m apps.answer_selection.check_data --data.name folder --data.root texts [--plot out.png]
"""

from pathlib import Path

from apps.answer_selection.config import DataConfig
from common.inputs import data_checks
from common.inputs.data_checks import Demand, Report, Tally
from common.runs import cli

SHOWN = 6  # questions on the contact sheet
# As many as TREC-QA's training part that is labelled by hand.
MIN_QUESTIONS = 93
# MAP of a question spreads by up to 0.5, so of so many its mean by 7 points at most; TREC-QA's
# clean validation part has 65.
MIN_VALIDATION_QUESTIONS = 50
MIN_USABLE = 0.5  # of the questions with a right and a wrong candidate; others teach nothing
# Unknown words share vectors by a hash: the network knows only whether they stand in both texts.
MAX_UNKNOWN_WORDS = 0.15


def check(config: DataConfig, plot: Path | None = None) -> Report:
    """Reads all files of a data set once.

    Args:
        config: which, and where.
        plot: where a contact sheet is drawn.

    Raises:
        UserError: a file is missing or no table.
    """
    from apps.answer_selection import datasets

    builder = datasets.unprepared(
        config.name, root=config.root, cache_dir=config.cache_dir, packages=config.packages
    )
    tally = data_checks.survey(builder, _count, size=SHOWN)
    if plot is not None and tally.sample:
        _draw(tally.sample, config.name, plot)
    too_long = {
        "words of a question": config.max_question_words,
        "words of a candidate": config.max_candidate_words,
    }
    notes = [
        *(
            f"{what} over {most}, which are cut: "
            f"{sum(length > most for length in tally.lengths[what]):,}"
            for what, most in too_long.items()
        ),
        f"vocabulary: {len(tally.words['train']):,} words",
        f"candidates: {data_checks.commonest(tally.classes['train'])}",
    ]
    return data_checks.Report(tally, notes, builder.broken, _demands(tally))


def _count(tally: Tally, part: str, record: dict) -> None:
    right, size = sum(record["labels"]), len(record["labels"])
    tally.counts[part].update(
        {"questions": 1, "with right and wrong": int(0 < right < size), "candidates": size}
    )
    tally.classes[part].update({"right": right, "wrong": size - right})
    tally.texts[part, "words of a question"].append(record["question"])
    tally.texts[part, "words of a candidate"] += record["candidates"]
    if part == "train":
        tally.lengths["candidates of a question"].append(size)


def _demands(tally: Tally) -> list[Demand]:
    train, validation = tally.counts["train"], tally.counts["validation"]
    usable = train["with right and wrong"]
    return [
        Demand(
            "training questions with right and wrong candidates",
            usable,
            MIN_QUESTIONS,
            "add questions, or wrong candidates to those that have none",
        ),
        Demand(
            "validation questions with right and wrong candidates",
            validation["with right and wrong"],
            MIN_VALIDATION_QUESTIONS,
            "add questions, or a larger validation.csv",
        ),
        Demand(
            "of the training questions with right and wrong candidates",
            usable / max(train["questions"], 1),
            MIN_USABLE,
            "add wrong candidates, other sentences of the same text for instance",
        ),
        Demand(
            "of the words of validation unknown in training",
            tally.unknown_words(),
            MAX_UNKNOWN_WORDS,
            "add texts, or set --model.word-vectors glove",
            most=True,
        ),
    ]


def _draw(records: list[dict], name: str, path: Path) -> None:
    from apps.answer_selection.ranking import plots

    plots.questions_with_candidates(
        [
            (row["question"], list(zip(row["labels"], row["candidates"], strict=True)))
            for row in records
        ],
        title=f"{name}: training questions with right and wrong candidates",
        path=path,
    )


main = data_checks.command(check, DataConfig)

if __name__ == "__main__":
    cli.run(main)
