"""Agreement of candidates: against its definition in loops, and the same wherever scores are."""

import csv
import dataclasses
import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from apps.answer_selection import config, data, evaluate, model, predict
from apps.answer_selection.config import Config
from apps.answer_selection.ranking import agreement, validation
from common.inputs.text import Vocabulary
from common.runs.directory import RunDirectory

WEIGHT = 8.0
QUESTION = "who wrote the play?"
CANDIDATES = [
    "Marlowe wrote nothing of it.",
    "The play is by Shakespeare of Stratford.",
    "Shakespeare, born in Stratford.",
    "The play opened on a Monday.",
    "Nobody knows.",
]


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

    def cosine(one, other):
        dot = sum(value * other.get(word, 0) for word, value in one.items())
        return dot / math.sqrt(
            max(sum(v * v for v in one.values()) * sum(v * v for v in other.values()), 1e-12)
        )

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


@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_its_definition_says(agree, seed):
    candidates = make_candidates(seed)
    expected = by_definition(*candidates)
    np.testing.assert_allclose(agree(*candidates), expected, rtol=1e-4, atol=1e-5)


def test_copies_have_the_same_score_and_do_not_support_each_other(agree):
    scores, ids, weights = make_candidates(1)
    alone = agree(scores[:1], ids[:1], weights[:1])
    np.testing.assert_array_equal(alone, scores[:1])
    twice = agree(*(np.repeat(one[:1], 2, axis=0) for one in (scores, ids, weights)))
    np.testing.assert_array_equal(twice, scores[[0, 0]])
    among = agree(*(np.concatenate([one, one[:1]]) for one in (scores, ids, weights)))
    assert among[-1] == pytest.approx(among[0], abs=1e-5)


def test_certain_scores_stay_finite(agree):
    scores, ids, weights = make_candidates(2)
    assert np.isfinite(agree(scores * 1e4, ids, weights)).all()


def test_the_best_candidates_alone_are_compared(agree):
    scores, ids, weights = make_candidates(3, candidates=agreement.MOST + 40)
    last = np.argsort(-scores)[agreement.MOST :]
    found = agree(scores, ids, weights)
    np.testing.assert_array_equal(found[last], scores[last])
    first = np.argsort(-scores)[: agreement.MOST]
    expected = agree(scores[first], ids[first], weights[first])
    np.testing.assert_allclose(found[first], expected, rtol=1e-4)


def test_no_candidate_is_no_score(agree):
    empty = np.zeros([0, 3], "float32")
    assert agree(empty[:, 0], empty.astype("int32"), empty).shape == (0,)


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


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match=r"model\.agreement must not be negative, got -1"):
        dataclasses.replace(config.SMALL.model, agreement=-1)


@pytest.fixture(scope="module")
def run(changed_run, tmp_path_factory, cache_dir):
    """The tiny run with agreement, on a question of one's own."""
    root = tmp_path_factory.mktemp("own")
    for name in ("train", "validation"):
        with (root / f"{name}.csv").open("w", newline="") as file:
            rows = [(QUESTION, text, int(row in (1, 2))) for row, text in enumerate(CANDIDATES)]
            csv.writer(file).writerows([("question", "candidate", "label"), *rows])
    own = {"name": "folder", "root": root, "max_questions": None, "cache_dir": cache_dir}
    return changed_run(model={"agreement": WEIGHT}, data=own)


def test_evaluate_predict_and_the_signature_give_the_same_scores(run, monkeypatch):
    directory = RunDirectory.open(run, app="answer_selection")
    options, network = directory.read_config(Config), directory.load_model()
    words = Vocabulary.load(run / "vocab_words.txt")
    ranker = model.Ranker(network, words, options)
    question, candidates = tf.constant(QUESTION), tf.constant(CANDIDATES)
    ranked = ranker.rank(question, candidates)
    pairs = ranker(tf.repeat(question, len(CANDIDATES)), candidates)
    expected = dict(zip(CANDIDATES, ranked["scores"].numpy(), strict=True))
    assert expected[CANDIDATES[1]] - pairs["score"][1] > 0.1  # it does something
    # In parts of two: candidates of a question that stand in several rows and calls.
    monkeypatch.setattr(predict, "AT_ONCE", 2)
    monkeypatch.setattr(data, "MAX_CANDIDATES", 2)
    sentences = predict.Predictor(ranker).rank(QUESTION, CANDIDATES).sentences
    assert {row.text: row.score for row in sentences} == pytest.approx(expected, abs=1e-4)
    alone = dict(zip(CANDIDATES, tf.sigmoid(pairs["score"]).numpy(), strict=True))
    assert {row.text: row.probability for row in sentences} == pytest.approx(alone, abs=1e-5)

    records = data.load_split(options.data, "validation")
    [record] = records.as_numpy_iterator()
    examples = data.make_examples(records, words, options.data)
    batches = data.evaluation_batches(examples, batch_size=2)
    rank = validation.make_ranker(network, batches)
    [question] = rank(WEIGHT)
    texts = [text.decode() for text in record["candidates"]]
    assert dict(zip(texts, question.scores, strict=True)) == pytest.approx(expected, abs=1e-4)


def test_evaluate_gives_the_network_alone_beside_it(run):
    evaluation = evaluate.evaluate(run, protocol="raw")
    assert list(evaluation.baselines)[:2] == ["network", "random"]
    assert "MAP above network" in evaluation.details
