"""CIDEr-D with fixed frequencies, nearest training images, and the caption that agrees best."""

import statistics

import numpy as np
import pytest

from apps.image_captioning import predict
from apps.image_captioning.captioning import scoring
from apps.image_captioning.captioning.neighbours import Cider, Neighbours

from .conftest import encoded_image


def test_against_the_references_themselves_it_is_the_official_score():
    random = np.random.default_rng(0)

    def caption():
        return " ".join(random.choice([*"abcdefgh"], size=random.integers(1, 12)))

    references = [[caption() for _ in range(random.integers(1, 5))] for _ in range(40)]
    generated = [random.choice([caption(), of_image[0]]) for of_image in references]
    cider = Cider(references)
    mean = statistics.fmean(
        cider.agreement([caption], [of_image])[0]
        for caption, of_image in zip(generated, references, strict=True)
    )
    assert mean == pytest.approx(scoring.score(generated, references)["cider"], rel=1e-9)


def test_equal_captions_are_the_most_alike_and_rare_words_count_more():
    cider = Cider([["two planes at an airport"], ["a dog"], ["a cat"], ["a cat"], ["a cow"]])
    caption = "two planes at an airport"
    assert cider.similarity(caption, caption) == pytest.approx(10.0)
    assert cider.similarity(caption, "two planes at the airport") < 10.0
    assert cider.similarity(caption, "") == cider.similarity("", "") == 0.0
    assert cider.similarity("the dog", "one dog") > cider.similarity("the cat", "one cat") > 0
    assert Cider([["a dog"], ["a cat"]]).similarity("a", "a") == 0  # every image has it


def test_agreement_is_the_weighted_mean_over_images():
    references = [
        ["many planes at an airport", "planes parked at an airport"],
        ["a red car in the rain", "a car"],
        ["planes at an airport"],
    ]
    cider = Cider([*references, ["a dog"]])
    car, planes, dog = cider.agreement(["a red car", "planes at an airport", "a dog"], references)
    assert planes > car > dog
    each = [cider.agreement(["a red car"], [captions])[0] for captions in references]
    assert car == pytest.approx(sum(each) / 3)
    weighted = cider.agreement(["a red car", "planes at an airport"], references, [0.1, 0.8, 0.1])
    assert weighted[0] > weighted[1]
    assert weighted[0] == pytest.approx(0.1 * each[0] + 0.8 * each[1] + 0.1 * each[2])


def test_the_weights_of_similar_images_are_a_softmax_of_their_cosines():
    angles = np.array([0.5, 0.0, 0.2])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    neighbours = Neighbours(features.astype(np.float16), [["far"], ["same"], ["near"]])
    (captions,) = neighbours.similar(np.array([[[[3.0, 0.0]]]]))
    assert captions.captions == [["same"], ["near"], ["far"]]
    expected = np.exp(np.cos([0.0, 0.2, 0.5]) / 0.1)
    np.testing.assert_allclose(captions.weights, expected / expected.sum(), rtol=0.02)  # float16


def test_what_the_model_draws_counts_as_much_as_what_people_say():
    neighbours = Neighbours(np.eye(2, dtype=np.float16), [["nothing alike"], ["nothing alike"]])
    (similar,) = neighbours.similar(np.ones((1, 2, 2, 2)))
    captions = ["a dog", "two cats at a door"]
    dog, cats = neighbours.agreement(captions, similar, ["two cats at a door"] * 3)
    assert cats > dog
    dog, cats = neighbours.agreement(captions, similar, ["a dog"])
    assert dog > cats


@pytest.fixture(scope="module")
def reranking(caption_run) -> predict.Predictor:
    return predict.Predictor.load(caption_run, beam=2, rerank=True)


def test_the_caption_comes_first_that_similar_images_have(predictor, reranking, monkeypatch):
    (plain,) = predictor.caption([encoded_image()])
    neighbours = reranking.reranking.neighbours
    captions = [[plain.captions[1][0]]] * len(neighbours.captions)
    monkeypatch.setattr(neighbours, "captions", captions)
    (reranked,) = reranking.caption([encoded_image()])
    assert reranked.captions == plain.captions[::-1]
    assert reranked.captions[0][0] == " ".join(reranked.tokens).strip()
    assert len(reranked.attention) == len(reranked.tokens)


def test_a_reranked_caption_depends_on_its_image_alone(reranking):
    images = [encoded_image(n, (9 + n, 30)) for n in range(3)]
    together = reranking.caption(images)
    for image, captions in zip(images, together, strict=True):
        assert reranking.caption([image])[0].tokens == captions.tokens


def test_reranking_chooses_from_a_beam_of_twenty_unless_told(caption_run):
    loaded = predict.Predictor.load(caption_run, rerank=True)
    (captions,) = loaded.caption([encoded_image()])
    assert 4 < len(captions.captions) <= 20
