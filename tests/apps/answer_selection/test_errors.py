"""Facts about which questions go wrong."""

import numpy as np
import pytest

from apps.answer_selection import config, data, errors, evaluate


def record(name: str, candidates: list[str], labels: list[int]) -> dict:
    return {
        "question_id": name.encode(),
        "question": b"what is tol",
        "candidates": np.array([text.encode() for text in candidates], object),
        "labels": np.array(labels),
    }


def test_questions_fall_into_kinds():
    records = [
        record("shared", ["The tol to stop at.", "A seed."], [1, 0]),
        record("not shared", ["The tolerance.", *7 * ["A seed."]], [1, *7 * [0]]),
        record("many", ["The tolerance.", *11 * ["The tol."]], [1, *11 * [0]]),
        record("without", ["The tol."], [0]),
    ]
    assert errors.by_kind(records) == {
        "a word is shared": ["shared"],
        "no word is shared": ["not shared", "many"],
        "up to 5 candidates": ["shared"],
        "6 to 9 candidates": ["not shared"],
        "10 candidates and more": ["many"],
    }


def test_first_ranks_give_the_reciprocal_rank(tiny_run, cache_dir):
    run = tiny_run("answer_selection")
    result = evaluate.evaluate(run)
    ranks = errors.read_ranks(run, "validation")
    for name, metrics in (("model", result.metrics), ("bm25", result.baselines["bm25"])):
        found = np.mean([1 / one[name] for one in ranks.values()])
        assert found == pytest.approx(metrics["mrr"], abs=1e-6)


def test_every_ranked_question_is_of_a_kind(tiny_run, cache_dir):
    run = tiny_run("answer_selection")
    evaluate.evaluate(run)
    options = config.TINY.data
    options = type(options)(**{**vars(options), "cache_dir": cache_dir})
    kinds = errors.by_kind(data.load_split(options, "validation").as_numpy_iterator())
    words = kinds["a word is shared"] + kinds["no word is shared"]
    assert sorted(words) == sorted(errors.read_ranks(run, "validation"))
