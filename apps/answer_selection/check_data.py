"""Looks at data before any training: sizes, words, broken rows, and whether it is enough.

python -m apps.answer_selection.check_data --data.name folder --data.root texts [--plot out.png]
"""

import textwrap
from pathlib import Path

from apps.answer_selection.config import DataConfig
from common.inputs import data_checks
from common.inputs.data_checks import Demand, Report, Tally
from common.runs import cli

SAMPLE = 6  # questions on the contact sheet
NUM_DRAWN, NUM_LETTERS = 4, 200  # candidates of each, right ones first; letters of a text
MIN_QUESTIONS = 93  # as many as TREC-QA's training part that is labelled by hand
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

    builder = datasets.make_builder(config)
    tally = data_checks.survey(builder, _count, size=SAMPLE)
    if plot is not None and tally.sample:
        from apps.answer_selection.ranking import plots

        texts = []
        for record in tally.sample:
            pairs = sorted(zip(record["labels"], record["candidates"], strict=True), reverse=True)
            rows = [("right" if label else "wrong", text) for label, text in pairs[:NUM_DRAWN]]
            for kind, text in [("question", record["question"]), *rows]:
                words = textwrap.shorten(text, NUM_LETTERS).split()
                texts.append((kind, [(word, 1.0) for word in words]))
        title = f"{config.name}: training questions with right and wrong candidates"
        plots.labelled_texts(texts, title=title, path=plot)
    notes = [
        f"vocabulary: {len(tally.words['train']):,} words",
        f"candidates: {data_checks.commonest(tally.classes['train'])}",
    ]
    limits = {"question": config.max_question_words, "candidate": config.max_candidate_words}
    for name, most in limits.items():
        cut = sum(length > most for length in tally.lengths[f"words of a {name}"])
        notes.append(f"words of a {name} over {most}, which are cut: {cut:,}")
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
        tally.few_unknown_words(MAX_UNKNOWN_WORDS, "add texts, or set --model.word-vectors glove"),
    ]


main = data_checks.command(check, DataConfig)

if __name__ == "__main__":
    cli.run(main)
