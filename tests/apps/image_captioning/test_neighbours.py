"""Nearest training images, and the caption that agrees best with theirs and with samples."""

import numpy as np
import pytest

from apps.image_captioning import predict
from apps.image_captioning.captioning.neighbours import Neighbours
from apps.image_captioning.corpora import ptb

from .conftest import encoded_image


def test_reranking_puts_the_caption_first_that_similar_images_have(predictor, caption_run):
    (plain,) = predictor.caption([encoded_image()])
    neighbours = Neighbours.load(caption_run)
    neighbours.captions = [[plain.captions[1][0]]] * len(neighbours.captions)
    (captions,) = predict.Predictor(predictor.captioner, neighbours).caption([encoded_image()])
    assert captions.captions == plain.captions[::-1]
    assert captions.captions[0][0] == " ".join(captions.tokens).strip()
    assert len(captions.attention) == len(captions.tokens)


@pytest.mark.parametrize(("beam", "width"), [(None, 20), (3, 3)])
def test_reranking_chooses_from_a_wider_beam_unless_told(caption_run, beam, width):
    loaded = predict.Predictor.load(caption_run, beam=beam, rerank=True)
    (captions,) = loaded.caption([encoded_image()])
    # One more at most: each training image has one caption.
    assert 1 < len(captions.captions) <= width + 1
    assert len(captions.captions) > 4 or beam == 3


def test_reranking_also_chooses_from_what_people_say_of_the_most_similar_image(
    predictor, caption_run
):
    (plain,) = predictor.caption([encoded_image()])
    neighbours = Neighbours.load(caption_run)
    words = {caption for captions in neighbours.captions for caption in captions}
    other = min(words - {caption for caption, _ in plain.captions})
    neighbours.captions = [[f"{other}!", "unheard-of zyzzyva"]] * len(neighbours.captions)
    (captions,) = predict.Predictor(predictor.captioner, neighbours).caption([encoded_image()])
    texts = [caption for caption, _ in captions.captions]
    assert texts[0] == " ".join(captions.tokens).strip() == " ".join(ptb.tokenize(other))
    assert sorted(texts[1:]) == sorted(caption for caption, _ in plain.captions)
    assert captions.captions[0][1] < min(score for _, score in plain.captions)
    np.testing.assert_allclose(captions.attention.sum((1, 2)), 1, rtol=1e-5)
    assert len(captions.attention) == len(captions.tokens)


def test_such_a_caption_must_agree_the_more_the_less_probable_it_is(predictor, caption_run):
    (plain,) = predictor.caption([encoded_image()])
    neighbours = Neighbours.load(caption_run)
    words = {caption for captions in neighbours.captions for caption in captions}
    other = min(words - {caption for caption, _ in plain.captions})
    said = " ".join(ptb.tokenize(other))
    for count, place in ((1, 0), (10, 2)):  # with all, or a tenth, of what people say
        neighbours.captions = [[other, *["unheard-of zyzzyva"] * (count - 1)]] * len(
            neighbours.captions
        )
        (captions,) = predict.Predictor(predictor.captioner, neighbours).caption([encoded_image()])
        assert [caption for caption, _ in captions.captions].index(said) == place


def test_a_caption_that_the_beam_has_too_is_offered_once(predictor, caption_run):
    (plain,) = predictor.caption([encoded_image()])
    neighbours = Neighbours.load(caption_run)
    neighbours.captions = [[caption for caption, _ in plain.captions]] * len(neighbours.captions)
    (captions,) = predict.Predictor(predictor.captioner, neighbours).caption([encoded_image()])
    assert sorted(captions.captions) == sorted(plain.captions)


def test_a_reranked_caption_depends_on_its_image_alone(predictor, caption_run):
    images = [encoded_image(n, (9 + n, 30)) for n in range(3)]
    reranking = predict.Predictor(predictor.captioner, Neighbours.load(caption_run))
    together = reranking.caption(images)
    for image, captions in zip(images, together, strict=True):
        assert reranking.caption([image])[0].tokens == captions.tokens


def test_what_the_model_draws_counts_in_reranking(caption_run):
    neighbours = Neighbours.load(caption_run)
    captions = ["a dog", "two cats at a door"]
    neighbours.captions = [["nothing alike"]] * len(neighbours.captions)
    (similar,) = neighbours.similar(np.ones((1, 2, 2, neighbours.features.shape[1])))
    dog, cats = neighbours.agreement(captions, similar, ["two cats at a door"] * 3)
    assert cats > dog
    dog, cats = neighbours.agreement(captions, similar, ["a dog"])
    assert dog > cats


def test_the_weights_of_similar_images_are_a_softmax_of_their_cosines():
    angles = np.array([0.5, 0.0, 0.2])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    neighbours = Neighbours(features.astype(np.float16), [["far"], ["same"], ["near"]])
    (captions,) = neighbours.similar(np.array([[[[3.0, 0.0]]]]))
    assert captions.captions == [["same"], ["near"], ["far"]]
    expected = np.exp(np.cos([0.0, 0.2, 0.5]) / 0.04)
    np.testing.assert_allclose(captions.weights, expected / expected.sum(), rtol=0.02)  # float16
