"""Boosted trees in TensorFlow are those of scikit-learn, and never fitted on what a network saw."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from apps.answer_selection import (
    boosting,
    combination,
    config,
    data,
    evaluate,
    export,
    predict,
    scoring,
    train,
)
from apps.answer_selection.combination import Combination, Moments
from common.runs.directory import RunDirectory
from common.runs.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config")  # tf.data traces
FOLDS = 2
COLOURS = ["red", "green", "blue", "black", "white", "brown"]


def make_pairs(seed, *, pairs=400, signals=5):
    """Signals of which some have few values, one never changes, and one is large."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(pairs, signals)).astype("float32")
    values[:, 1] = np.round(values[:, 1], 1)
    values[:, 2] = 7.0
    values[:, 3] *= 1e4
    labels = (values[:, 0] + values[:, 1] ** 2 + random.normal(size=pairs) > 1).astype(int)
    return values, labels, random.integers(0, 40, pairs)


def fit(seed):
    signals, labels, questions = make_pairs(seed)
    return boosting.fit(signals, labels, questions, seed=seed)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_trees_are_those_of_scikit_learn_at_thresholds_and_beside_them(seed):
    boosted = fit(seed)
    trees = boosting.as_trees(boosted)
    signals, *_ = make_pairs(seed + 10)
    inner = [node for node, left in enumerate(trees.left) if left != node]
    for row, node in enumerate(inner[:300]):
        exact = np.float32(trees.threshold[node])
        at = [exact, np.nextafter(exact, np.float32(-np.inf)), np.nextafter(exact, np.float32(9e9))]
        signals[row, trees.signal[node]] = at[row % 3]
    found = combination.apply(trees, tf.constant(signals))
    np.testing.assert_allclose(found, boosted.decision_function(signals), rtol=0, atol=1e-6)


def test_signals_in_double_precision_are_read_as_scikit_learn_reads_them():
    boosted = fit(0)
    trees = boosting.as_trees(boosted)
    signals = np.random.default_rng(1).normal(size=(len(trees.threshold), 5))
    rows = np.arange(len(signals))
    signals[rows, trees.signal] = trees.threshold  # between two single-precision numbers
    found = combination.apply(trees, tf.constant(signals))
    np.testing.assert_allclose(found, boosted.decision_function(signals), rtol=0, atol=1e-6)


def test_extreme_signals_are_held_as_in_scikit_learn():
    boosted = fit(0)
    signals = np.array([[1e3, 0, 7, 1e6, 0], [-1e3, 0, 7, -1e6, 0]], "float32")
    found = combination.apply(boosting.as_trees(boosted), tf.constant(signals))
    np.testing.assert_allclose(found, boosted.decision_function(signals), rtol=0, atol=1e-6)


def test_a_fit_is_a_function_of_its_seed():
    assert boosting.as_trees(fit(3)) == boosting.as_trees(fit(3))


def test_json_gives_the_same_combination_to_the_last_bit():
    made = Combination(Moments(0.1, 2 / 3), boosting.as_trees(fit(0)))
    assert combination.from_json(json.loads(json.dumps(combination.to_json(made)))) == made


@pytest.mark.parametrize(
    "change", [{"root": [10**6]}, {"signal": []}, {"left": None}, {"unknown": 1}]
)
def test_a_damaged_combination_is_a_users_error(tmp_path, change):
    made = combination.to_json(Combination(Moments(0.0, 1.0), boosting.as_trees(fit(0))))
    made["trees"] |= change
    (tmp_path / combination.NAME).write_text(json.dumps(made))
    with pytest.raises(UserError, match=r"combination\.json: expected boosted trees"):
        combination.load(tmp_path)


def test_a_network_that_gives_one_score_to_all_has_finite_moments():
    assert Moments.of(np.array([3.0, 3.0])) == Moments(3.0, 1.0)


@pytest.mark.parametrize("folds", [-1, 1])
def test_impossible_numbers_of_folds_are_refused(folds):
    with pytest.raises(ValueError, match="combine_folds"):
        dataclasses.replace(config.SMALL.train, combine_folds=folds)


@pytest.fixture(scope="module")
def options(tmp_path_factory, cache_dir):
    """Forty questions of one's own, combined over two folds."""
    root = tmp_path_factory.mktemp("own")
    for name, first, last in (("train", 0, 40), ("validation", 40, 46)):
        rows = [
            (f"what colour is thing{n}?", f"the {f'thing{n}' if place < 1 else 'sky'} is {colour}",
             int(place < 1))
            for n in range(first, last)
            for place, colour in enumerate(COLOURS)
        ]  # fmt: skip
        with (root / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("question", "candidate", "label"), *rows])
    return dataclasses.replace(
        config.TINY,
        model=dataclasses.replace(config.TINY.model, matching="stacked", direction="forward"),
        data=config.DataConfig(name="folder", root=root, cache_dir=cache_dir, hash_buckets=16),
        train=dataclasses.replace(
            config.TINY.train, epochs=1, combine_folds=FOLDS, deterministic=True
        ),
    )


@pytest.fixture(scope="module")
def run(options, tmp_path_factory, fits):
    path = tmp_path_factory.mktemp("runs") / "own"
    train.train(options, path)
    return path


def scores_of_folds(run):
    paths = [run / "folds" / str(fold) / "scores.json" for fold in range(FOLDS)]
    return [json.loads(path.read_text())["scores"] for path in paths]


def test_a_fold_never_sees_its_own_questions(run, fits):
    whole, *parts = fits[: 1 + FOLDS]
    scored = scores_of_folds(run)
    for part, own in zip(parts, scored, strict=True):
        assert part.question_ids == whole.question_ids - set(own)
        assert 0 < part.num_questions == len(part.question_ids) < whole.num_questions
    assert sorted([*scored[0], *scored[1]]) == sorted(whole.question_ids)
    assert len({fit.seed for fit in fits[: 1 + FOLDS]}) == 1 + FOLDS


def test_folds_leave_the_validation_questions_to_the_selection(options, run):
    held_back = data.load_split(options.data, "validation").as_numpy_iterator()
    ids = {one["question_id"].decode() for one in held_back}
    assert ids and not ids & {key for fold in scores_of_folds(run) for key in fold}


def test_the_network_is_the_one_that_is_trained_without_a_combination(options, run, fits, tmp_path):
    plain = dataclasses.replace(options, train=dataclasses.replace(options.train, combine_folds=0))
    train.train(plain, tmp_path / "plain")
    assert not (tmp_path / "plain" / combination.NAME).exists()
    assert fits[-1][:3] == fits[0][:3]
    for one, other in zip(fits[-1].weights, fits[0].weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_evaluate_gives_the_network_alone_beside_the_combination(run):
    found = evaluate.evaluate(run, protocol="raw")
    assert list(found.baselines)[:2] == ["network", "random"]
    assert "MAP above network" in found.details
    assert found.metrics["map"] > found.baselines["random"]["map"]


def test_evaluate_predict_and_both_signatures_give_the_same_scores(options, run, tmp_path):
    saved = tf.saved_model.load(str(export.export(run, tmp_path / "saved")))
    predictor = predict.Predictor.load(run)
    combined = combination.load(run)
    assert combined is not None
    records = data.load_split(options.data, "validation")
    examples = data.make_examples(records, train_words(run), options.data)
    batches = data.evaluation_batches(examples, batch_size=4)
    evaluated = scoring.read(RunDirectory(run).load_model(), batches, combined=combined)
    for record, one in zip(records.as_numpy_iterator(), evaluated, strict=True):
        question, candidates = record["question"], record["candidates"].tolist()
        asked = tf.constant(question)
        pairs = saved.signatures["serving_default"](
            question=tf.repeat(asked, len(candidates)), candidate=tf.constant(candidates)
        )
        ranked = saved.signatures["rank"](question=asked, candidates=tf.constant(candidates))
        told = predictor.rank(question.decode(), [text.decode() for text in candidates]).sentences
        by_text = {sentence.text.encode(): sentence.score for sentence in told}
        expected = one.outputs["final"]
        assert np.abs(expected - one.outputs["score"]).max() > 1e-3  # it does something
        np.testing.assert_allclose(pairs["score"], expected, atol=1e-4)
        np.testing.assert_allclose(ranked["scores"], expected, atol=1e-4)
        np.testing.assert_allclose([by_text[text] for text in candidates], expected, atol=1e-4)


def train_words(run):
    from common.inputs.text import Vocabulary

    return Vocabulary.load(run / "vocab_words.txt")


def test_copies_of_a_candidate_have_the_same_score(run):
    candidates = ["the sky is red", "the thing41 is blue", "the sky is red", "red"]
    told = predict.Predictor.load(run).rank("what colour is thing41?", candidates).sentences
    both = [one.score for one in told if one.text == "the sky is red"]
    assert len(both) == 2 and both[0] == pytest.approx(both[1], abs=1e-6)


def test_a_resumed_run_keeps_finished_folds_and_comes_to_the_same_combination(
    options, run, fits, tmp_path
):
    path = tmp_path / "run"
    shutil.copytree(run, path)
    (path / combination.NAME).unlink()  # as if the training had ended within the second fold
    shutil.rmtree(path / "folds" / "1")
    kept = sorted((path / "folds" / "0").glob("*.*"))
    before = [file.stat().st_mtime_ns for file in kept]
    num_fits = len(fits)
    train.train(options, path, resume=True)
    assert [fit.seed for fit in fits[num_fits:]] == [fits[0].seed, fits[2].seed]
    assert [file.stat().st_mtime_ns for file in kept] == before
    assert (path / combination.NAME).read_text() == (run / combination.NAME).read_text()
