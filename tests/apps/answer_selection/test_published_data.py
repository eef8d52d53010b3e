"""The published files themselves: `CELLSTATE_DATA=DIR pytest -m data`."""

import os
from pathlib import Path

import pytest

from apps.answer_selection import datasets
from apps.answer_selection.ranking import baselines, metrics
from apps.answer_selection.ranking.metrics import Ranked

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif("CELLSTATE_DATA" not in os.environ, reason="CELLSTATE_DATA is not set"),
]


def prepared(name, tmp_path_factory):
    root = Path(os.environ["CELLSTATE_DATA"]) / name
    return datasets.make_builder(name, root=root, cache_dir=tmp_path_factory.getbasetemp())[0]


@pytest.fixture(scope="module")
def trecqa(tmp_path_factory):
    return prepared("trecqa", tmp_path_factory)


@pytest.fixture(scope="module")
def wikiqa(tmp_path_factory):
    return prepared("wikiqa", tmp_path_factory)


def records(builder, part):
    return list(datasets.read(builder, part).as_numpy_iterator())


def count(found):
    return (
        len(found),
        sum(len(one["labels"]) for one in found),
        sum(int(one["labels"].sum()) for one in found),
    )


def clean(found):
    return [one for one in found if 0 < one["labels"].sum() < len(one["labels"])]


def test_trecqa_has_the_published_counts(trecqa):
    counts = {part: count(records(trecqa, part)) for part in ("train_all", "train", "raw_dev")}
    assert counts == {
        "train_all": (1229, 53417, 6410),
        "train": (93, 4718, 348),
        "raw_dev": (81, 1148, 222),
    }


def test_the_clean_part_of_trecqa_is_the_raw_one_with_both_kinds_of_candidate(trecqa):
    def texts(found):
        # The ids of the questions differ between the parts.
        return sorted((one["question"], *sorted(one["candidates"])) for one in found)

    assert texts(clean(records(trecqa, "raw_dev"))) == texts(records(trecqa, "clean_dev"))


def test_wikiqa_has_the_published_counts(wikiqa):
    found = records(wikiqa, "validation")
    assert count(found) == (296, 2733, 140)
    assert sum(one["labels"].any() for one in found) == 126
    assert count(records(wikiqa, "train")) == (2118, 20360, 1040)


def test_shared_words_find_answers_in_trecqa_but_ties_give_nothing_away(trecqa):
    found = records(trecqa, "raw_dev")

    def mean_ap(scorer):
        rows = [
            Ranked(
                one["question_id"].decode(),
                [name.decode() for name in one["candidate_ids"]],
                one["labels"].tolist(),
                scorer(
                    one["question"].decode(), [text.decode() for text in one["candidates"]]
                ).tolist(),
            )
            for one in found
        ]
        return metrics.summarize(metrics.score_questions(rows), "raw").metrics["map"]

    # In the order of the files, where right sentences come first, it would be .85.
    assert 0.70 < mean_ap(baselines.word_overlap) < 0.78
