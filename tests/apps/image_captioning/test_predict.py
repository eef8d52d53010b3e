"""Photos to captions: one, in batches, in folders, and through the SavedModel."""

import csv
import io
import json
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from apps.image_captioning import predict
from common.runs.errors import UserError

from .conftest import encoded_image


@pytest.fixture(scope="module")
def saved(tiny_export):
    return tf.saved_model.load(str(tiny_export("image_captioning")))


def captions_of(saved, images):
    outputs = saved.signatures["serving_default"](image=tf.constant(images, tf.string))
    return {name: value.numpy() for name, value in outputs.items()}


def test_as_many_captions_as_the_beam_best_first_with_attention(predictor):
    (captions,) = predictor.caption([encoded_image()])
    scores = [score for _, score in captions.captions]
    assert len(scores) == 2 and scores == sorted(scores, reverse=True)
    assert captions.captions[0][0] == " ".join(captions.tokens).strip()
    # Each word and the end have their attention.
    assert captions.attention.shape == (len(captions.tokens), 4, 4)
    np.testing.assert_allclose(captions.attention.sum((1, 2)), 1, rtol=1e-5)


def test_the_saved_model_gives_what_predict_gives(predictor, saved):
    images = [encoded_image(3), encoded_image(4, (7, 60), "JPEG")]
    there = captions_of(saved, images)
    for row, here in enumerate(predictor.caption(images)):
        assert [c.decode() for c in there["caption"][row]] == [c for c, _ in here.captions]
        np.testing.assert_allclose(there["score"][row], [s for _, s in here.captions], rtol=1e-4)


def test_a_batch_is_its_rows_one_by_one(saved):
    images = [encoded_image(n, (9 + n, 30)) for n in range(4)]
    together = captions_of(saved, images)
    for row in range(4):
        alone = captions_of(saved, images[row : row + 1])
        assert alone["caption"][0].tolist() == together["caption"][row].tolist()
        np.testing.assert_allclose(alone["score"][0], together["score"][row], rtol=1e-4)


def test_a_corrupt_image_in_a_batch_is_named_by_its_row(saved):
    good = encoded_image()
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"(?s)image.*cannot read row.*\[1 3\]"
    ):
        captions_of(saved, [good, good[:60], good, b"text"])


def test_a_photo_that_is_stored_turned_is_captioned_as_the_upright_one(predictor, saved):
    upright = Image.open(io.BytesIO(encoded_image(5, (20, 30))))
    turns = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    turns |= {6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}  # as a camera stores it
    photos = [as_file(upright, "PNG")]
    for orientation, turn in turns.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        photos.append(as_file(upright.transpose(Image.Transpose[turn]), "PNG", exif=exif))
    expected, *captioned = predictor.caption(photos)
    for captions in captioned:  # a row of a batch may be rounded differently from another
        (texts, scores), (right, right_scores) = (
            zip(*row.captions, strict=True) for row in (captions, expected)
        )
        assert texts == right
        np.testing.assert_allclose(scores, right_scores, rtol=1e-5)
        np.testing.assert_allclose(captions.attention, expected.attention, rtol=1e-5)
    outputs = captions_of(saved, photos)
    assert (outputs["caption"] == outputs["caption"][0]).all()


@pytest.mark.parametrize("image", [b"", b"not an image", encoded_image()[:70]])
def test_an_unreadable_image_is_a_users_error(predictor, image):
    with pytest.raises(UserError, match="expected an image, got one that is"):
        predictor.caption([image])


def as_file(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_images_of_rare_kinds_have_captions_and_a_gif_is_refused(predictor):
    sixteen_bits = Image.fromarray(np.full((20, 20), 40_000, "uint16"))
    cmyk = Image.new("CMYK", (20, 20), (10, 200, 30, 0))
    first, *others = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    animated = {"save_all": True, "append_images": others}
    images = [as_file(sixteen_bits, "PNG"), as_file(cmyk, "JPEG"), encoded_image(size=(1, 1))]
    images += [as_file(first, "PNG"), as_file(first, "PNG", **animated)]
    *rest, still, moving = predictor.caption(images)
    assert all(captions.captions for captions in rest)
    assert moving.captions == still.captions  # those of the first frame
    with pytest.raises(UserError, match="not a JPEG, PNG or BMP"):
        predictor.caption([as_file(first, "GIF", **animated)])


def test_a_folder_becomes_a_table_without_what_cannot_be_read(
    caption_run, tmp_path, caplog, capsys
):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        (photos / f"{number}.png").write_bytes(encoded_image(number))
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (photos / "notes.txt").write_text("no image")
    (photos / "folder.jpg").mkdir()
    os.mkfifo(photos / "pipe.png")
    links = {"dead.jpg": "nowhere", "loop.png": "loop.png", "unreadable.bmp": "/proc/self/mem"}
    for name, target in links.items():
        (photos / name).symlink_to(target)
    predict.main(run_dir=caption_run, photos=(photos,), csv=tmp_path / "out.csv")
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["image"].rsplit("/", 1)[-1] for row in rows] == ["0.png", "1.png", "2.png"]
    for name in ("broken.jpg", "folder.jpg", "pipe.png", *links):
        assert f"leaves out {photos / name}: " in caplog.text
    assert all(row["caption"] for row in rows)
    named = [photos / "1.png", *map(photos.joinpath, links), photos / ("a" * 300)]
    capsys.readouterr()
    predict.main(run_dir=caption_run, photos=tuple(named))  # as `photos/*` in a shell names them
    assert capsys.readouterr().out.count("1.png") == 1
    with pytest.raises(UserError, match="expected images, none of 4 can be read"):
        predict.main(run_dir=caption_run, photos=tuple(named[1:]))


def test_captions_are_printed_also_where_no_file_can_be_written(caption_run, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(encoded_image())
    with pytest.raises(NotADirectoryError):
        predict.main(
            run_dir=caption_run, photos=(tmp_path / "a.png",), csv=tmp_path / "a.png" / "out.csv"
        )
    assert "a.png" in capsys.readouterr().out


def test_alternatives_widen_the_beam(caption_run, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(encoded_image())
    predict.main(run_dir=caption_run, image=(tmp_path / "a.png",), alternatives=4, json=True)
    assert len(json.loads(capsys.readouterr().out)["images"][0]["captions"]) == 4


def test_a_folder_without_images_and_a_missing_photo_are_named(caption_run, tmp_path):
    with pytest.raises(UserError, match=r"images or folders, found none in .*"):
        predict.main(run_dir=caption_run, photos=(tmp_path,))
    with pytest.raises(UserError, match=r"found none at .*nowhere\.png"):
        predict.main(run_dir=caption_run, photos=(tmp_path / "nowhere.png",))
