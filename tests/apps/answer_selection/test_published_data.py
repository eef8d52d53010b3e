"""The published files themselves: `CELLSTATE_DATA=DIR pytest -m data`."""

import os
from pathlib import Path

import pytest

from apps.answer_selection import datasets
from apps.answer_selection.config import DataConfig
from apps.answer_selection.ranking import baselines, metrics

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif("CELLSTATE_DATA" not in os.environ, reason="CELLSTATE_DATA is not set"),
]


def read(name, folder, part):
    """The records of a part, as preparation would make them."""
    config = DataConfig(name=name, root=Path(os.environ["CELLSTATE_DATA"]) / folder)
    parts = datasets.make_builder(config)._split_generators(None)
    return [record for _, record in parts[part]]


def count(records):
    labels = [record["labels"] for record in records]
    return len(labels), sum(map(len, labels)), sum(map(sum, labels))


def test_trecqa_has_the_published_counts():
    assert count(read("trecqa", "trecqa", "train")) == (1229, 53417, 6410)
    assert count(read("trecqa_train", "trecqa", "train")) == (93, 4718, 348)
    records = read("trecqa", "trecqa", "validation")
    assert count(records) == (81, 1148, 222)
    clean = [record for record in records if len(set(record["labels"])) == 2]
    assert len(clean) == 65


def test_wikiqa_has_the_published_counts():
    records = read("wikiqa", "wikiqa", "validation")
    assert count(records) == (296, 2733, 140)
    assert sum(any(record["labels"]) for record in records) == 126
    assert count(read("wikiqa", "wikiqa", "train")) == (2118, 20360, 1040)


def test_shared_words_find_answers_in_trecqa_but_ties_give_nothing_away():
    rows = [
        metrics.Ranked(
            record["question_id"],
            record["candidate_ids"],
            record["labels"],
            baselines.word_overlap(record["question"], record["candidates"]).tolist(),
        )
        for record in read("trecqa", "trecqa", "validation")
    ]
    # In the order of the files, where right sentences come first, it would be .85.
    assert 0.70 < metrics.summarize(metrics.score_questions(rows), "raw")["map"] < 0.78
