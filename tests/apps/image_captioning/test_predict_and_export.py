"""Photos to captions, one by one, in batches, in folders, and through the SavedModel."""

import csv
import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from apps.image_captioning import predict, ptb
from apps.image_captioning.config import ModelConfig
from apps.image_captioning.model import make_image_encoder, thaw
from apps.image_captioning.neighbours import Neighbours
from common.runs.errors import UserError

from .conftest import encoded_image


@pytest.fixture(scope="module")
def predictor(caption_run):
    return predict.Predictor.load(caption_run)


@pytest.fixture(scope="module")
def saved(tiny_export):
    return tf.saved_model.load(str(tiny_export("image_captioning")))


def tell(saved, images):
    found = saved.signatures["serving_default"](image=tf.constant(images, tf.string))
    return {name: value.numpy() for name, value in found.items()}


def as_png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_as_many_captions_as_the_beam_best_first(predictor):
    (found,) = predictor.caption([encoded_image()])
    scores = [score for _, score in found.captions]
    assert len(scores) == 2 and scores == sorted(scores, reverse=True)
    assert found.captions[0][0] == " ".join(found.tokens).strip()


def test_reranking_puts_the_caption_first_that_similar_images_have(predictor, caption_run):
    (plain,) = predictor.caption([encoded_image()])
    known = Neighbours.load(caption_run)
    known.captions = [[plain.captions[1][0]]] * len(known.captions)
    (found,) = predict.Predictor(predictor.captioner, known).caption([encoded_image()])
    assert found.captions == plain.captions[::-1]
    assert found.captions[0][0] == " ".join(found.tokens).strip()
    assert len(found.attention) == len(found.tokens)


@pytest.mark.parametrize(("beam", "width"), [(None, 20), (3, 3)])
def test_reranking_chooses_from_a_wider_beam_unless_told(caption_run, beam, width):
    loaded = predict.Predictor.load(caption_run, beam=beam, rerank=True)
    (found,) = loaded.caption([encoded_image()])
    # One more at most: each training image has one caption.
    assert 1 < len(found.captions) <= width + 1
    assert len(found.captions) > 4 or beam == 3


def test_reranking_also_chooses_from_what_people_say_of_the_most_similar_image(
    predictor, caption_run
):
    (plain,) = predictor.caption([encoded_image()])
    known = Neighbours.load(caption_run)
    words = {caption for captions in known.captions for caption in captions}
    other = min(words - {caption for caption, _ in plain.captions})
    known.captions = [[f"{other}!", "unheard-of zyzzyva"]] * len(known.captions)
    (found,) = predict.Predictor(predictor.captioner, known).caption([encoded_image()])
    captions = [caption for caption, _ in found.captions]
    assert captions[0] == " ".join(found.tokens).strip() == " ".join(ptb.tokenize(other))
    assert sorted(captions[1:]) == sorted(caption for caption, _ in plain.captions)
    assert found.captions[0][1] < min(score for _, score in plain.captions)
    np.testing.assert_allclose(found.attention.sum((1, 2)), 1, rtol=1e-5)
    assert len(found.attention) == len(found.tokens)


def test_such_a_caption_must_agree_the_more_the_less_probable_it_is(predictor, caption_run):
    (plain,) = predictor.caption([encoded_image()])
    known = Neighbours.load(caption_run)
    words = {caption for captions in known.captions for caption in captions}
    other = min(words - {caption for caption, _ in plain.captions})
    said = " ".join(ptb.tokenize(other))
    for captions, place in ((1, 0), (10, 2)):  # with all, or a tenth, of what people say
        known.captions = [[other, *["unheard-of zyzzyva"] * (captions - 1)]] * len(known.captions)
        (found,) = predict.Predictor(predictor.captioner, known).caption([encoded_image()])
        assert [caption for caption, _ in found.captions].index(said) == place


def test_a_caption_that_the_beam_has_too_is_offered_once(predictor, caption_run):
    (plain,) = predictor.caption([encoded_image()])
    known = Neighbours.load(caption_run)
    known.captions = [[caption for caption, _ in plain.captions]] * len(known.captions)
    (found,) = predict.Predictor(predictor.captioner, known).caption([encoded_image()])
    assert sorted(found.captions) == sorted(plain.captions)


def test_a_reranked_caption_depends_on_its_image_alone(predictor, caption_run):
    images = [encoded_image(n, (9 + n, 30)) for n in range(3)]
    reranking = predict.Predictor(predictor.captioner, Neighbours.load(caption_run))
    together = reranking.caption(images)
    for image, found in zip(images, together, strict=True):
        assert reranking.caption([image])[0].tokens == found.tokens


def test_what_the_model_draws_counts_in_reranking(caption_run):
    known = Neighbours.load(caption_run)
    captions = ["a dog", "two cats at a door"]
    known.captions = [["nothing alike"]] * len(known.captions)
    (similar,) = known.similar(np.ones((1, 2, 2, known.features.shape[1])))
    dog, cats = known.agreement(captions, similar, ["two cats at a door"] * 3)
    assert cats > dog
    dog, cats = known.agreement(captions, similar, ["a dog"])
    assert dog > cats


def test_the_weights_of_similar_images_are_a_softmax_of_their_cosines():
    angles = np.array([0.5, 0.0, 0.2])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    known = Neighbours(features.astype(np.float16), [["far"], ["same"], ["near"]])
    (found,) = known.similar(np.array([[[[3.0, 0.0]]]]))
    assert found.captions == [["same"], ["near"], ["far"]]
    expected = np.exp(np.cos([0.0, 0.2, 0.5]) / 0.04)
    np.testing.assert_allclose(found.weights, expected / expected.sum(), rtol=0.02)  # float16


def test_each_word_and_the_end_have_their_attention(predictor):
    (found,) = predictor.caption([encoded_image()])
    assert found.attention.shape == (len(found.tokens), 4, 4)
    np.testing.assert_allclose(found.attention.sum((1, 2)), 1, rtol=1e-5)


def test_the_saved_model_gives_what_predict_gives(predictor, saved):
    images = [encoded_image(3), encoded_image(4, (7, 60), "JPEG")]
    there = tell(saved, images)
    for row, here in enumerate(predictor.caption(images)):
        assert [one.decode() for one in there["caption"][row]] == [one for one, _ in here.captions]
        np.testing.assert_allclose(there["score"][row], [s for _, s in here.captions], rtol=1e-4)


def test_a_batch_is_its_rows_one_by_one(saved):
    images = [encoded_image(n, (9 + n, 30)) for n in range(8)]
    together = tell(saved, images)
    for row in range(8):
        alone = tell(saved, images[row : row + 1])
        assert alone["caption"][0].tolist() == together["caption"][row].tolist()
        np.testing.assert_allclose(alone["score"][0], together["score"][row], rtol=1e-4)


def test_a_corrupt_image_in_a_batch_is_named_by_its_row(saved):
    good = encoded_image()
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"(?s)image.*cannot read row.*\[1 3\]"
    ):
        tell(saved, [good, good[:60], good, b"text"])


@pytest.mark.parametrize("image", [b"", b"not an image", encoded_image()[:70]])
def test_an_unreadable_image_is_a_users_error(predictor, image):
    with pytest.raises(UserError, match="expected an image, got one that is"):
        predictor.caption([image])


def test_an_image_of_fifty_megapixels_and_one_is_refused(predictor):
    with pytest.raises(UserError, match="8001 x 6250 pixels"):
        predictor.caption([as_png(Image.new("1", (8001, 6250)))])


@pytest.mark.parametrize(
    "image",
    [
        encoded_image(size=(1, 1)),
        as_png(Image.new("L", (20, 20), 90)),
        as_png(Image.new("RGBA", (20, 20), (200, 30, 30, 40))),
        as_png(Image.fromarray(np.full((20, 20), 40_000, "uint16"))),
    ],
    ids=["one pixel", "grey", "transparent", "sixteen bits"],
)
def test_images_of_all_kinds_have_captions(predictor, image):
    assert predictor.caption([image])[0].captions


def test_a_cmyk_jpeg_has_a_caption(predictor):
    file = io.BytesIO()
    Image.new("CMYK", (20, 20), (10, 200, 30, 0)).save(file, "JPEG")
    assert predictor.caption([file.getvalue()])[0].captions


def test_an_animated_image_is_refused_or_its_first_frame_is_told(predictor):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    gif, apng = io.BytesIO(), io.BytesIO()
    frames[0].save(gif, "GIF", save_all=True, append_images=frames[1:])
    frames[0].save(apng, "PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match="not a JPEG, PNG or BMP"):
        predictor.caption([gif.getvalue()])
    first = predictor.caption([as_png(frames[0])])
    assert predictor.caption([apng.getvalue()])[0].captions == first[0].captions


def test_a_folder_becomes_a_table_without_what_cannot_be_read(
    caption_run, tmp_path, caplog, capsys
):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        (photos / f"{number}.png").write_bytes(encoded_image(number))
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (photos / "notes.txt").write_text("no image")
    predict.main(run_dir=caption_run, photos=(photos,), csv=tmp_path / "out.csv")
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["image"].rsplit("/", 1)[-1] for row in rows] == ["0.png", "1.png", "2.png"]
    assert "leaves out" in caplog.text and "broken.jpg" in caplog.text
    assert all(row["caption"] for row in rows)


def test_alternatives_widen_the_beam(caption_run, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(encoded_image())
    predict.main(run_dir=caption_run, image=(tmp_path / "a.png",), alternatives=4, json=True)
    assert len(json.loads(capsys.readouterr().out)["images"][0]["captions"]) == 4


def test_a_folder_without_images_is_a_users_error(caption_run, tmp_path):
    with pytest.raises(UserError, match=r"images in the folder .* found none"):
        predict.main(run_dir=caption_run, photos=(tmp_path,))


def test_a_missing_photo_is_named(caption_run, tmp_path):
    with pytest.raises(UserError, match=r"found none at .*nowhere\.png"):
        predict.main(run_dir=caption_run, photos=(tmp_path / "nowhere.png",))


def test_weights_of_another_network_are_named(tmp_path):
    import dataclasses

    import keras

    from apps.image_captioning import config, model

    path = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(path)
    options = dataclasses.replace(
        config.TINY.model, image_encoder="MobileNetV2", image_size=32, image_weights=path
    )
    with pytest.raises(
        UserError, match=r"other\.weights\.h5: expected weights of MobileNetV2 .*got"
    ):
        model.make_image_encoder(options)


def test_the_last_blocks_are_trained_and_their_statistics_stay():
    encoder = make_image_encoder(
        ModelConfig(image_size=32, train_image_encoder=True, train_encoder_from="blocks-15")
    )
    trained = {weight.path.split("/")[0] for weight in encoder.trainable_weights}
    assert trained == {
        *(f"blocks-15-{part}_conv" for part in ("expand", "depthwise", "project")),
        "conv_head",
    }
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3))
    np.testing.assert_array_equal(encoder(pixels, training=True), encoder(pixels, training=False))
    with pytest.raises(UserError, match=r"begins with 'block99', its last ones are .*conv_head"):
        thaw(encoder, "block99", keep_statistics=True)
