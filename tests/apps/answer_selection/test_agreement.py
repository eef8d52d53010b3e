"""Agreement of candidates: against its definition in loops, and the same wherever scores are."""

import csv
import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from apps.answer_selection import (
    agreement,
    config,
    data,
    evaluate,
    export,
    predict,
    scoring,
    train,
)
from apps.answer_selection.config import Config
from common.inputs.text import Vocabulary
from common.runs.directory import RunDirectory

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config")  # tf.data traces
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
def agree(request, standalone):
    """The function of the SavedModel, and that of the other runtimes."""
    if request.param == "graph":
        return lambda *given: agreement.agree(*map(tf.constant, given), WEIGHT).numpy()
    module = standalone("apps/answer_selection/runtime.py")

    def call(scores, ids, weights):
        bags = [module.bag(*row) for row in zip(ids, weights, strict=True)]
        return module.agree(scores, bags, WEIGHT)

    return call


@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_its_definition_says(agree, seed):
    given = make_candidates(seed)
    np.testing.assert_allclose(agree(*given), by_definition(*given), rtol=1e-4, atol=1e-5)


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


def test_no_candidate_is_no_score():
    empty = agreement.agree(tf.zeros([0]), tf.zeros([0, 3], tf.int32), tf.zeros([0, 3]), WEIGHT)
    assert empty.shape == (0,)


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match=r"model\.agreement must not be negative, got -1"):
        dataclasses.replace(config.SMALL.model, agreement=-1)


@pytest.fixture(scope="module")
def run(tmp_path_factory, cache_dir, fits):
    """Of questions of one's own; the same for training and validation."""
    root, path = tmp_path_factory.mktemp("own"), tmp_path_factory.mktemp("runs") / "own"
    for name in ("train", "validation"):
        with (root / f"{name}.csv").open("w", newline="") as file:
            rows = [(QUESTION, text, int(place in (1, 2))) for place, text in enumerate(CANDIDATES)]
            csv.writer(file).writerows([("question", "candidate", "label"), *rows])
    model = dataclasses.replace(config.TINY.model, matching="stacked", direction="forward")
    own = config.DataConfig(name="folder", root=root, cache_dir=cache_dir, hash_buckets=64)
    options = dataclasses.replace(
        config.TINY, model=dataclasses.replace(model, agreement=WEIGHT), data=own
    )
    train.train(options, path)
    return path


def test_evaluate_predict_and_the_signature_give_the_same_scores(run, tmp_path, monkeypatch):
    saved = tf.saved_model.load(str(export.export(run, tmp_path / "saved")))
    question, candidates = tf.constant(QUESTION), tf.constant(CANDIDATES)
    ranked = saved.signatures["rank"](question=question, candidates=candidates)
    pairs = saved.signatures["serving_default"](
        question=tf.repeat(question, len(CANDIDATES)), candidate=candidates
    )
    expected = dict(zip(CANDIDATES, ranked["scores"].numpy(), strict=True))
    assert expected[CANDIDATES[1]] - pairs["score"][1] > 0.1  # it does something
    # In parts of two: candidates of a question that stand in several rows and calls.
    monkeypatch.setattr(predict, "AT_ONCE", 2)
    monkeypatch.setattr(data, "MAX_CANDIDATES", 2)
    told = predict.Predictor.load(run).rank(QUESTION, CANDIDATES).sentences
    assert {one.text: one.score for one in told} == pytest.approx(expected, abs=1e-4)

    options = RunDirectory.open(run, app="answer_selection").read_config(Config)
    [record] = data.load_split(options.data, "validation").as_numpy_iterator()
    examples = data.make_examples(
        data.load_split(options.data, "validation"),
        Vocabulary.load(run / "vocab_words.txt"),
        options.data,
    )
    batches = data.evaluation_batches(examples, batch_size=2)
    [one] = scoring.read(RunDirectory(run).load_model(), batches, agreement_weight=WEIGHT)
    texts = [text.decode() for text in record["candidates"]]
    found = dict(zip(texts, one.outputs["final"], strict=True))
    assert found == pytest.approx(expected, abs=1e-4)


def test_evaluate_gives_the_network_alone_beside_it(run):
    found = evaluate.evaluate(run, protocol="raw")
    assert list(found.baselines)[:2] == ["network", "random"]
    assert "MAP above network" in found.details
