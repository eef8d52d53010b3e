"""The networks against the papers' equations, and what must never change a result."""

import dataclasses

import keras
import numpy as np
import pytest

from apps.visual_qa import config
from apps.visual_qa.fusion.evidence import ImageEvidence, shares_of_regions
from apps.visual_qa.model import (
    QUESTION_ONLY,
    build_model,
    build_question_only,
    pooled_encoder,
    trained_part,
)
from common.runs.errors import UserError

SIZES = {"num_words": 11, "num_answers": 6}
OPTIONS = dataclasses.replace(config.TINY.model, dropout=0.0)
PRIOR = dataclasses.replace(OPTIONS, fusion="question_prior", train_image_encoder=False)


def make_batch(batch=2, questions=3, time=5, seed=0):
    random = np.random.default_rng(seed)
    lengths = random.integers(1, time + 1, (batch, questions, 1))
    mask = np.arange(time) < lengths
    return {
        "image": random.integers(0, 256, (batch, 16, 16, 3), dtype=np.uint8),
        "token_ids": np.where(mask, random.integers(4, 11, mask.shape), 0).astype("int32"),
        "token_mask": mask,
    }


def call(model, batch):
    outputs = model({name: batch[name] for name in model.input}, training=False)
    return {name: np.asarray(value) for name, value in outputs.items()}


@pytest.fixture(
    scope="module",
    params=[OPTIONS, PRIOR],
    ids=["attention", "question_prior"],
)
def model(request):
    keras.utils.set_random_seed(0)
    model = build_model(request.param, **SIZES)
    if request.param == PRIOR:  # as it is after training, and with features beyond the limit
        evidence = trained_part(model).get_layer("evidence")
        for layer in (evidence.of_product, evidence.of_image):
            layer.kernel.assign(np.random.default_rng(0).normal(size=layer.kernel.shape))
        seen = pooled_encoder(model)(make_batch(batch=8)["image"]).numpy()
        evidence.adapt(seen[:2])
    return model


@pytest.mark.parametrize(("batch", "questions", "time"), [(1, 1, 1), (3, 4, 9)])
def test_batch_questions_and_time_are_free(model, batch, questions, time):
    outputs = call(model, make_batch(batch, questions, time))
    hops = outputs["attention"].shape[2]
    assert outputs["logits"].shape == (batch, questions, 6)
    assert outputs["attention"].shape == (batch, questions, hops, 4, 4)


def test_each_hop_of_attention_sums_to_one(model):
    attention = call(model, make_batch())["attention"]
    np.testing.assert_allclose(attention.sum(axis=(-2, -1)), 1.0, rtol=1e-5)


def test_padding_changes_nothing(model):
    batch = make_batch()
    longer = {
        "image": batch["image"],
        "token_ids": np.pad(batch["token_ids"], [(0, 0), (0, 2), (0, 4)]),
        "token_mask": np.pad(batch["token_mask"], [(0, 0), (0, 2), (0, 4)]),
    }
    for name, expected in call(model, batch).items():
        np.testing.assert_allclose(call(model, longer)[name][:, :3], expected, rtol=1e-5, atol=1e-6)


def test_questions_about_an_image_do_not_see_each_other(model):
    batch = make_batch()
    alone = {**batch, **{n: batch[n][:, 1:2] for n in ("token_ids", "token_mask")}}
    np.testing.assert_allclose(
        call(model, alone)["logits"][:, 0], call(model, batch)["logits"][:, 1], rtol=1e-5, atol=1e-6
    )


def test_a_padded_question_gives_finite_logits(model):
    batch = make_batch()
    batch["token_mask"][0, 0] = False
    assert np.isfinite(call(model, batch)["logits"]).all()


def test_the_image_counts(model):
    batch = make_batch()
    other = {**batch, "image": 255 - batch["image"]}
    logits, other_logits = call(model, batch)["logits"], call(model, other)["logits"]
    # Far above rounding; untrained logits are small themselves.
    assert np.abs(logits - other_logits).max() > 1e-3 * np.abs(logits).max()


def evidence_of_random_weights():
    """The layer, features (2, 4) of which some are beyond the limit, question and prior."""
    keras.utils.set_random_seed(3)
    evidence = ImageEvidence(5, units=7, dropout=0.5)
    random = np.random.default_rng(1)
    pooled, question, prior = (
        random.normal(size=shape).astype("float32") for shape in ((2, 4), (2, 3, 6), (2, 3, 5))
    )
    evidence(pooled, question, prior)
    for weight in evidence.trainable_weights:
        weight.assign(random.normal(size=weight.shape))
    evidence.adapt(random.normal(scale=0.3, size=(50, 4)).astype("float32"))
    return evidence, pooled, question, prior


def test_every_weight_moves_after_one_step():
    model = build_model(dataclasses.replace(OPTIONS, question_layers=2), **SIZES)
    before = [weight.numpy().copy() for weight in model.trainable_weights]
    trained = keras.Model(model.input, model.output["logits"])
    trained.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,  # one step, cheaper than its graph
    )
    trained.train_on_batch(make_batch(), np.ones((2, 3), "int32"))
    unmoved = [
        weight.path
        for weight, old in zip(model.trainable_weights, before, strict=True)
        if np.array_equal(weight.numpy(), old)
    ]
    # Only words of the batch move in the embedding, but some do.
    assert unmoved == []


def test_a_frozen_encoder_stays_as_it_was():
    options = dataclasses.replace(OPTIONS, train_image_encoder=False)
    model = build_model(options, **SIZES)
    encoder = next(
        layer
        for layer in model.layers
        if isinstance(layer, keras.Model) and layer.name == "small_cnn"
    )
    before = [weight.numpy().copy() for weight in encoder.weights]
    trained = keras.Model(model.input, model.output["logits"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trained.compile("adam", loss, run_eagerly=True)
    trained.train_on_batch(make_batch(), np.ones((2, 3), "int32"))
    for weight, old in zip(encoder.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)


def test_the_rival_takes_no_image():
    assert set(build_question_only(OPTIONS, **SIZES).input) == {"token_ids", "token_mask"}


def test_stacked_attention_follows_the_paper():
    """Equations 8 to 17 of Yang et al. 2016 in NumPy, from the weights of the graph's parts."""
    keras.utils.set_random_seed(1)
    model = build_model(OPTIONS, **SIZES)
    part = {layer.name: layer for layer in model.layers}
    inside = keras.Model(model.input, [part["regions"].output, part["questions"].output])
    batch = make_batch()
    regions, question = (np.asarray(value) for value in inside(batch))

    kernel, bias = part["project_regions"].get_weights()
    values = np.tanh(regions @ kernel + bias)  # v_I, (batch, regions, units)
    refined, attention = question, []
    for hop in ("hop_1", "hop_2"):
        layer = part[hop]
        w_query = layer.query_projection.get_weights()[0]
        w_image, b_image = layer.key_projection.get_weights()
        w_score = layer.score.get_weights()[0]
        hidden = np.tanh((values @ w_image + b_image)[:, None] + (refined @ w_query)[:, :, None])
        scores = (hidden @ w_score)[..., 0]
        weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
        refined = np.einsum("bqr,bru->bqu", weights, values) + refined
        attention.append(weights)
    outputs = call(model, batch)
    np.testing.assert_allclose(
        outputs["attention"].reshape(2, 3, 2, 16), np.stack(attention, axis=2), rtol=1e-4, atol=1e-6
    )
    # The product with the question is ours: docs/decisions/0002.
    kernel, bias = part["project_question"].get_weights()
    query = np.tanh(question @ kernel + bias)
    kernel, bias = part["project_evidence"].get_weights()
    product = query * np.tanh((refined - question) @ kernel + bias)
    center, spread = product.mean(-1, keepdims=True), product.var(-1, keepdims=True)
    agreement = (product - center) / np.sqrt(spread + 1e-3)
    kernel, bias = part["hidden"].get_weights()
    fused = np.concatenate([refined, agreement], axis=-1)
    hidden = np.maximum(fused @ kernel + bias, 0.0)
    kernel, bias = part["logits"].get_weights()
    np.testing.assert_allclose(outputs["logits"], hidden @ kernel + bias, rtol=1e-4, atol=1e-5)


def test_evidence_follows_its_equations():
    evidence, pooled, question, prior = evidence_of_random_weights()
    weights = {weight.path.split("/", 1)[1]: weight.numpy() for weight in evidence.weights}
    standardized = (pooled - weights["mean"]) / weights["deviation"]
    assert (np.abs(standardized) > 5).any()
    assert (np.abs(standardized) < 5).any()
    inside = np.clip(standardized, -5, 5)
    image = np.maximum(inside @ weights["image/kernel"] + weights["image/bias"], 0)[:, None]
    asked = np.tanh(question @ weights["question/kernel"] + weights["question/bias"])
    logits = weights["prior_scale"] * prior + (image * asked) @ weights["product/kernel"]
    expected = logits + image @ weights["alone/kernel"]
    np.testing.assert_allclose(evidence(pooled, question, prior)[0], expected, rtol=1e-5, atol=1e-5)


def test_a_misspelt_encoder_is_named():
    with pytest.raises(UserError, match="ResNet50"):
        build_model(dataclasses.replace(OPTIONS, image_encoder="Resnet50"), **SIZES)


def test_an_image_size_that_does_not_suit_the_encoder_is_a_users_error():
    with pytest.raises(UserError, match=r"model\.image_encoder small_cnn: .* multiple of 4"):
        build_model(dataclasses.replace(OPTIONS, image_size=18), **SIZES)


def test_with_a_prior_training_begins_with_the_answers_of_the_question_only_network():
    blind = build_question_only(dataclasses.replace(PRIOR, dropout=0.5), **SIZES)
    model = build_model(PRIOR, **SIZES)
    head = trained_part(model)
    head.get_layer(QUESTION_ONLY).set_weights(blind.get_weights())
    batch = make_batch()
    np.testing.assert_array_equal(call(model, batch)["logits"], call(blind, batch)["logits"])
    evidence = head.get_layer("evidence")
    assert {id(w) for w in head.trainable_weights} == {id(w) for w in evidence.trainable_weights}


def test_the_part_that_is_trained_gives_what_the_whole_gives():
    model = build_model(PRIOR, **SIZES)
    batch = make_batch()
    pooled = pooled_encoder(model)(batch["image"]).numpy()
    logits = call(trained_part(model), {**batch, "pooled": pooled})["logits"]
    np.testing.assert_array_equal(logits, call(model, batch)["logits"])


def test_regions_share_what_they_add_to_the_logit_of_the_answer():
    """Differences of the logit when a region looks like an average photo, against the output."""
    evidence, pooled, question, prior = evidence_of_random_weights()
    random = np.random.default_rng(2)
    regions = pooled[:, None] + random.normal(size=(2, 9, 4)).astype("float32")
    pooled = regions.mean(1)
    logits, slope, base = (np.asarray(v) for v in evidence(pooled, question, prior))
    shares = np.asarray(shares_of_regions(regions, slope, base))
    for image, asked in np.ndindex(2, 3):
        best, parts = logits[image, asked].argmax(), []
        for region in range(9):
            less = np.array(pooled)  # a thousandth of the way to an average photo: it is linear
            less[image] += (evidence.mean - regions[image, region]) / 1000
            changed = np.asarray(evidence(less, question, prior)[0])[image, asked, best]
            parts.append(max(float(logits[image, asked, best] - changed), 0.0))
        np.testing.assert_allclose(shares[image, asked], np.array(parts) / sum(parts), atol=0.02)
