"""One image and question, and batches of raw bytes and strings through the SavedModel."""

import io
import json
import shutil
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from apps.visual_qa import predict
from common.runs.errors import UserError

from .conftest import encoded_image


@pytest.fixture(scope="module")
def predictor(vqa_run):
    return predict.Predictor.load(vqa_run)


@pytest.fixture(scope="module")
def saved(tiny_export):
    return tf.saved_model.load(str(tiny_export("visual_qa")))


def ask(saved, images, questions):
    outputs = saved.signatures["serving_default"](
        image=tf.constant(images, tf.string), question=tf.constant(questions, tf.string)
    )
    return {name: value.numpy() for name, value in outputs.items()}


def test_five_answers_best_first(predictor):
    top = predictor.answer(encoded_image(), "what color is the shape?").top
    probabilities = [probability for _, probability in top]
    assert len(top) == 5
    assert probabilities == sorted(probabilities, reverse=True)


def test_the_saved_model_gives_what_predict_gives(predictor, saved):
    image, question = encoded_image(3), "is there a red shape?"
    here = predictor.answer(image, question)
    there = ask(saved, [image], [question])
    assert there["answer"][0].decode() == here.top[0][0]
    np.testing.assert_allclose(there["top_probabilities"][0], [p for _, p in here.top], rtol=1e-5)
    np.testing.assert_allclose(there["attention"][0], here.attention, rtol=1e-5)


def test_the_card_describes_the_fields_for_programs(tiny_export):
    card = json.loads((tiny_export("visual_qa") / "assets.extra" / "card.json").read_text())
    assert card["inputs"]["image"]["media_type"] == "image/*"
    assert card["inputs"]["question"]["media_type"] == "text/plain"
    assert card["outputs"]["top_answers"]["dims"] == ["batch", 5]
    assert card["outputs"]["attention"]["dims"] == ["batch", "hops", "rows", "columns"]
    assert card["licences"] == ["easy-VQA, MIT (Victor Zhou 2019)"]


def test_a_batch_is_its_rows_one_by_one(saved):
    images = [encoded_image(1, (40, 60)), encoded_image(2, (7, 9), "JPEG"), encoded_image(3)]
    questions = ["what?", "is there a circle in the image?", "color"]
    together = ask(saved, images, questions)
    for row in range(3):
        alone = ask(saved, images[row : row + 1], questions[row : row + 1])
        np.testing.assert_allclose(
            alone["top_probabilities"][0], together["top_probabilities"][row], rtol=1e-4, atol=1e-6
        )


def test_a_corrupt_image_in_a_batch_is_named_by_its_row(saved):
    good = encoded_image()
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"(?s)image.*cannot read row.*\[1 3\]"
    ):
        ask(saved, [good, good[:60], good, b"text"], ["a"] * 4)


def test_an_empty_question_in_a_batch_is_named_by_its_row(saved):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)question.*none in row.*\[2\]"):
        ask(saved, [encoded_image()] * 3, ["a", "b", " ?! "])


def test_ten_thousand_words_are_cut(predictor, caplog):
    long = predictor.answer(encoded_image(), "red " * 10_000)
    assert "reads the first 30 of 10000 words" in caplog.text
    assert long.top == predictor.answer(encoded_image(), "red " * 30).top


def test_unknown_words_only_are_answered_with_a_note(predictor, caplog):
    assert len(predictor.answer(encoded_image(), "quux frobnicate").top) == 5
    assert "no word of the question occurred in training" in caplog.text


def test_an_empty_question_is_a_users_error(predictor):
    with pytest.raises(UserError, match="question of at least one word"):
        predictor.answer(encoded_image(), " ?!")


@pytest.mark.parametrize("image", [b"", b"not an image", encoded_image()[:70]])
def test_an_unreadable_image_is_a_users_error(predictor, image):
    with pytest.raises(UserError, match="expected an image, got one that is"):
        predictor.answer(image, "what?")


def test_one_pixel_is_an_image(predictor):
    assert len(predictor.answer(encoded_image(size=(1, 1)), "what?").top) == 5


def test_a_huge_image_is_refused_before_it_is_decoded(predictor):
    file = io.BytesIO()
    Image.new("L", (20_000, 20_000)).save(file, "PNG")
    begun = time.monotonic()
    with pytest.raises(UserError, match="20000 x 20000 pixels"):
        predictor.answer(file.getvalue(), "what?")
    assert time.monotonic() - begun < 1.0  # decoding it takes several


def test_predict_names_a_missing_image(vqa_run, tmp_path):
    with pytest.raises(UserError, match=r"found none at .*nowhere\.png"):
        predict.main(run_dir=vqa_run, image=tmp_path / "nowhere.png", question="what?")


def test_a_damaged_model_file_is_a_users_error(vqa_run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(vqa_run, copy)
    whole = (copy / "model.keras").read_bytes()
    (copy / "model.keras").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"model\.keras, it cannot be read"):
        predict.Predictor.load(copy)
