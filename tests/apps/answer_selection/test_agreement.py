"""Agreement of candidates: against its definition in loops, and the same wherever scores are."""

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from apps.answer_selection import data, model, predict
from apps.answer_selection.config import Config
from apps.answer_selection.ranking import agreement, validation
from common.inputs import pipeline
from common.inputs.text import Vocabulary
from common.runs.directory import RunDirectory

WEIGHT = 8.0


def make_candidates(seed, *, candidates=7, time=6):
    """Scores, words and weights, the last 0 at padding and for some words."""
    random = np.random.default_rng(seed)
    ids = random.integers(0, 9, (candidates, time)).astype("int32")
    real = np.arange(time) < random.integers(1, time + 1, (candidates, 1))
    weights = (np.arange(9) / 8)[ids] * real
    return random.normal(size=candidates).astype("float32"), ids, weights.astype("float32")


def by_definition(scores, ids, weights, weight=WEIGHT):
    """Of each candidate: the cosines with the others, by the chance that each is the right one."""
    bags = [dict(sorted(zip(*pair, strict=True))) for pair in zip(ids, weights, strict=True)]

    def dot(bag, other):
        return sum(value * other.get(word, 0) for word, value in bag.items())

    def cosine(bag, other):
        return dot(bag, other) / math.sqrt(max(dot(bag, bag) * dot(other, other), 1e-12))

    agreed = []
    for place, own in enumerate(bags):
        others = [
            (math.exp(score), cosine(own, bag))
            for n, (score, bag) in enumerate(zip(scores, bags, strict=True))
            if n != place and cosine(own, bag) < 0.9999
        ]
        total = sum(chance for chance, _ in others)
        expected = sum(chance * similar for chance, similar in others) / total if total else 0
        agreed.append(scores[place] + weight * expected)
    return agreed


@pytest.fixture(params=["graph", "numpy"])
def agree(request):
    """In the graph of the SavedModel, and in NumPy as everywhere else."""
    if request.param == "numpy":
        return lambda *arrays: agreement.agree(*arrays, WEIGHT)
    call = functools.partial(agreement.agree, ops=keras.ops, make_bags=model._make_bags)
    return lambda *arrays: call(*map(tf.constant, arrays), WEIGHT).numpy()


def test_it_is_what_its_definition_says(agree):
    for seed in range(5):
        candidates = make_candidates(seed)
        expected = by_definition(*candidates)
        np.testing.assert_allclose(agree(*candidates), expected, rtol=1e-4, atol=1e-5)


def test_copies_have_the_same_score_and_do_not_support_each_other(agree):
    scores, ids, weights = make_candidates(1)
    alone = agree(scores[:1], ids[:1], weights[:1])
    np.testing.assert_array_equal(alone, scores[:1])
    twice = agree(*(np.repeat(row[:1], 2, axis=0) for row in (scores, ids, weights)))
    np.testing.assert_array_equal(twice, scores[[0, 0]])
    among = agree(*(np.concatenate([rows, rows[:1]]) for rows in (scores, ids, weights)))
    assert among[-1] == pytest.approx(among[0], abs=1e-5)


def test_certain_scores_stay_finite_and_no_candidate_is_no_score(agree):
    scores, ids, weights = make_candidates(2)
    assert np.isfinite(agree(scores * 1e4, ids, weights)).all()
    assert agree(scores[:0], ids[:0], weights[:0]).shape == (0,)


def test_the_best_candidates_alone_are_compared(agree):
    scores, ids, weights = make_candidates(3, candidates=agreement.MOST + 40)
    last = np.argsort(-scores)[agreement.MOST :]
    agreed = agree(scores, ids, weights)
    np.testing.assert_array_equal(agreed[last], scores[last])
    first = np.argsort(-scores)[: agreement.MOST]
    expected = agree(scores[first], ids[first], weights[first])
    np.testing.assert_allclose(agreed[first], expected, rtol=1e-4)


def test_parts_of_the_candidates_give_the_scores_of_all_at_once():
    scores, ids, unasked = make_candidates(4)
    parts = [
        {"score": scores[:2], "ids": ids[:2, :4], "unasked": unasked[:2, :4]},
        {"score": scores[2:], "ids": ids[2:], "unasked": unasked[2:]},
    ]
    unasked[:2, 4:] = 0
    expected = agreement.agree(scores, ids, unasked, WEIGHT)
    np.testing.assert_allclose(agreement.final_scores(parts, WEIGHT), expected, rtol=1e-5)
    np.testing.assert_array_equal(agreement.final_scores(parts, 0), scores)


def test_evaluate_predict_and_the_signature_give_the_same_scores(own_run, monkeypatch):
    directory = RunDirectory.open(own_run, app="answer_selection")
    options, network = directory.read_config(Config), directory.load_model()
    words = Vocabulary.load(own_run / "vocab_words.txt")
    records = data.load_split(options.data, "validation")
    record = next(records.as_numpy_iterator())
    question, texts = record["question"].decode(), [row.decode() for row in record["candidates"]]
    ranker = model.Ranker(network, words, options)
    scores = ranker.rank(tf.constant(question), tf.constant(texts))["scores"].numpy()
    pairs = ranker(tf.repeat(question, len(texts)), tf.constant(texts))["score"].numpy()
    assert (scores - pairs).max() > 0.1  # it does something
    # In parts of two: candidates of a question that stand in several calls.
    monkeypatch.setattr(predict, "AT_ONCE", 2)
    monkeypatch.setattr(validation, "AT_ONCE", 2)
    sentences = {row.text: row for row in predict.Predictor(ranker).rank(question, texts)}
    predicted = [sentences[text].score for text in texts]
    assert predicted == pytest.approx(scores, abs=1e-4)
    alone = [sentences[text].probability for text in texts]
    assert alone == pytest.approx(tf.sigmoid(pairs).numpy(), abs=1e-5)
    batches = pipeline.evaluation_batches(
        data.make_examples(records, words, options.data), batch_size=2
    )
    first = next(validation.make_ranker(network, batches)(WEIGHT))
    assert first.scores == pytest.approx(scores, abs=1e-4)
