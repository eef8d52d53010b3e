"""The networks against the papers' equations, and what must never change a score."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from apps.answer_selection import config
from apps.answer_selection.model import WordTables, build_model
from apps.answer_selection.ranking import networks
from apps.answer_selection.ranking.networks import PointwiseLoss, Words

OPTIONS = dataclasses.replace(config.TINY.model, word_dim=6)
IDF = np.linspace(0.0, 1.0, 23).astype("float32")
WAYS = {
    "compare_aggregate": OPTIONS,
    "stacked": dataclasses.replace(OPTIONS, matching="stacked", layers=2),
    "single_lstm": dataclasses.replace(
        OPTIONS, matching="stacked", direction="forward", match_features=False
    ),
}


def make_text(shape, time, seed):
    random = np.random.default_rng(seed)
    mask = np.arange(time) < random.integers(1, time + 1, (*shape, 1))
    ids = np.where(mask, random.integers(4, 23, mask.shape), 0).astype("int32")
    keys = np.stack([ids, ids // 2 + 100 * mask, ids // 4 + 200 * mask], axis=-1).astype("int32")
    return {"ids": ids, "keys": keys, "mask": mask}


def make_batch(batch=3, candidates=4, question_time=5, candidate_time=7, seed=0):
    question = make_text((batch,), question_time, seed)
    candidate = make_text((batch, candidates), candidate_time, seed + 1)
    return {
        **{f"question_{name}": value for name, value in question.items()},
        **{f"candidate_{name}": value for name, value in candidate.items()},
    }


def make_call(model):
    """A function batch -> outputs, in one graph of free sizes, as the SavedModel has."""
    specs = {
        name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in model.input.items()
    }
    graph = tf.function(
        lambda inputs: model(inputs, training=False), input_signature=[specs], autograph=False
    )
    return lambda batch: {name: value.numpy() for name, value in graph(batch).items()}


@pytest.fixture(scope="module", params=WAYS)
def model(request):
    keras.utils.set_random_seed(0)
    return build_model(WAYS[request.param], WordTables(IDF))


@pytest.fixture(scope="module")
def call(model):
    return make_call(model)


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (2, 5, 9, 3)])
def test_all_sizes_are_free_and_attention_sums_to_one_over_the_real_words(call, sizes):
    inputs = make_batch(*sizes)
    outputs, mask = call(inputs), inputs["candidate_mask"]
    assert outputs["score"].shape == mask.shape[:2]
    assert outputs["attention"].shape == outputs["unasked"].shape == mask.shape
    np.testing.assert_allclose(outputs["attention"].sum(axis=-1), 1.0, atol=1e-4)
    assert (outputs["attention"][~mask] == 0).all()


def test_padding_changes_nothing(call):
    batch = make_batch()
    longer = {}
    for name, value in batch.items():
        pads = [(0, 0), (0, 3), *([(0, 2)] if name.startswith("candidate") else [])]
        pads += [(0, 0)] * (value.ndim - len(pads))
        longer[name] = np.pad(value, pads)
    for name, expected in call(batch).items():
        outputs = call(longer)[name]
        # Candidates first: three more of them, two more words each, three more question words.
        cut = tuple(slice(0, size) for size in expected.shape)
        np.testing.assert_allclose(outputs[cut], expected, rtol=1e-4, atol=1e-5)
    assert (call(longer)["score"][:, 4:] == 0).all()


def test_candidates_do_not_see_each_other_and_equal_ones_have_equal_scores(call):
    batch = make_batch()
    alone = dict(batch)
    for name in ("candidate_ids", "candidate_keys", "candidate_mask"):
        batch[name][:, 3] = batch[name][:, 1]
        alone[name] = batch[name][:, 1:2]
    scores = call(batch)["score"]
    np.testing.assert_allclose(call(alone)["score"][:, 0], scores[:, 1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores[:, 3], scores[:, 1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("candidates", [3, 5])
def test_sizes_that_are_equal_by_chance_are_not_taken_for_each_other(model, call, candidates):
    """As many pairs as question words or keys: outside a graph Keras sees all sizes."""
    batch = make_batch(1, candidates, 5, 7)
    scores = model(batch, training=False)["score"]
    np.testing.assert_allclose(scores, call(batch)["score"], rtol=1e-4, atol=1e-5)


def test_the_question_counts_and_one_without_words_gives_finite_scores(call):
    batch = make_batch()
    other = {**batch, **{f"question_{n}": v for n, v in make_text((3,), 5, 99).items()}}
    first, second = call(batch)["score"], call(other)["score"]
    assert np.abs(first - second).max() > 1e-3 * np.abs(first).max()
    batch["question_mask"][:] = False
    assert np.isfinite(call(batch)["score"]).all()


def test_every_weight_learns_but_the_idf(model):
    with tf.GradientTape() as tape:
        score = model(make_batch(), training=True)["score"]
        value = PointwiseLoss()(np.array([[1, 0, 0, 0]] * 3, "int32"), score)
    gradients = tape.gradient(value, model.trainable_weights)
    pairs = zip(model.trainable_weights, gradients, strict=True)
    # Only words of the batch move in the embedding, but some do.
    still = [w.path for w, g in pairs if g is None or not np.any(tf.convert_to_tensor(g))]
    assert still == []
    idf = model.get_layer("idf")
    np.testing.assert_array_equal(idf.get_weights()[0][:, 0], IDF)
    assert not idf.trainable


LABELS = np.array([[1, 0, 0, -1], [0, 1, 1, 0]], "int32")
SCORES = np.array([[0.3, -0.2, 1.1, 9.0], [0.0, 2.0, -1.0, 0.5]], "float32")


def test_the_loss_is_the_cross_entropy_of_each_candidate():
    signs = np.where(LABELS > 0, -1, 1)
    first, second = np.log1p(np.exp(signs * SCORES))
    expected = (np.mean(first[:3]) + np.mean(second)) / 2  # the last of the first is padding
    assert float(PointwiseLoss()(LABELS, SCORES)) == pytest.approx(expected, rel=1e-5)


def test_padding_and_questions_of_weight_zero_do_not_count_in_the_loss():
    other = np.where(LABELS < 0, -50.0, SCORES).astype("float32")
    loss = PointwiseLoss()
    assert float(loss(LABELS, other)) == pytest.approx(float(loss(LABELS, SCORES)), rel=1e-6)
    weighted = float(loss(LABELS, SCORES, sample_weight=np.array([1.0, 0.0], "float32")))
    assert weighted == pytest.approx(float(loss(LABELS[:1], SCORES[:1])), rel=1e-5)


def words_of(keys, idf):
    keys, weights = np.array(keys, "int32"), np.array(idf, "float32")
    mask = keys > 0
    embedded = np.eye(32, dtype="float32")[keys] * mask[..., None]
    return Words(embedded, weights[..., None], np.repeat(keys[..., None], 3, axis=-1), mask)


def test_pair_features_are_those_counted_by_hand():
    # Question words 1, 2, 3 with IDF 0.5, 0.2, 0.3; candidate 2, 2, 7, 3 and padding.
    question = words_of([[1, 2, 3]], [[0.5, 0.2, 0.3]])
    candidate = words_of([[2, 2, 7, 3, 0]], [[0.2, 0.2, 0.9, 0.3, 0.0]])
    overlap = networks.compare_words(question, candidate)
    features = np.asarray(networks.pair_features(question, candidate, overlap))[0]
    assert features[0] == pytest.approx(2 / 3, abs=1e-4)  # of the question's words
    assert features[3] == pytest.approx(0.5, abs=1e-4)  # of their IDF
    assert features[6] == pytest.approx(3 / 4, abs=1e-4)  # of the candidate's words
    norm = 1.2 * (0.25 + 0.75 * 4 / 25)
    bm25 = 0.2 * 2 / (2 + norm) + 0.3 * 1 / (1 + norm)
    assert features[9] == pytest.approx(bm25, abs=1e-4)
    np.testing.assert_allclose(features[-2:], np.log([4, 5]) / 4, atol=1e-4)


def test_flags_tell_each_word_whether_it_stands_in_the_other_text():
    question = words_of([[1, 2]], [[0.5, 0.2]])
    candidate = words_of([[2, 9, 0]], [[0.2, 0.9, 0.0]])
    flags = np.asarray(networks.flags(question, networks.compare_words(question, candidate)))[0]
    np.testing.assert_allclose(flags[0], [0, 0, 0, 0, 0, 0, 0.5, 0], atol=1e-5)
    np.testing.assert_allclose(flags[1], [1, 1, 1, 0.2, 0.2, 0.2, 0.2, 1], atol=1e-4)
