"""Facts about reading encoded images; Pillow writes them and is the oracle."""

import io
import os
import resource
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from common.inputs import images

FORMATS = ["JPEG", "PNG", "BMP"]
SIZE = 8


def picture(height: int, width: int, mode: str = "RGB") -> Image.Image:
    """A smooth picture that no rotation or exchange of colours leaves as it is."""
    down, right = np.mgrid[0:height, 0:width]
    planes = [down * 200 // height, right * 150 // width, (down + right) * 90 // (height + width)]
    return Image.fromarray(np.stack(planes, axis=-1).astype("uint8")).convert(mode)


def encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def as_rgb(image: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))


def huge_png(side: int) -> bytes:
    """A whole black-and-white PNG; small itself, three bytes a pixel when decoded."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    pack = zlib.compressobj(1)
    row = bytes(1 + (side + 7) // 8)
    pixels = b"".join(pack.compress(row) for _ in range(side)) + pack.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


# Files


def test_a_file_that_cannot_be_used_has_a_problem_whatever_it_is(tmp_path):
    good = encoded(picture(3, 5), "PNG")
    (tmp_path / "good.png").write_bytes(good)
    (tmp_path / "cut.png").write_bytes(good[:50])
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    links = {"link.png": "good.png", "dead.jpg": "nowhere", "loop.jpg": "loop.jpg"}
    for name, target in {**links, "unreadable.png": "/proc/self/mem"}.items():
        (tmp_path / name).symlink_to(target)
    problems = {
        "good.png": None,
        "link.png": None,
        "cut.png": "damaged or cut short",
        "unreadable.png": "unreadable (Input/output error)",
        "photos\\good.png": "no such file: write / for \\ in its path",
    }
    absent = ("", "folder.jpg", "pipe.png", "dead.jpg", "loop.jpg", "good.png/a", "a\0b", "a" * 300)
    for name in absent:
        problems[name] = "no such file"
    read = {name: images.read(tmp_path / name) for name in problems}
    assert {name: problem for name, (_, problem) in read.items()} == problems
    assert read["good.png"][0] == read["link.png"][0] == good


# Headers


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (3, 500), (300, 7)])
def test_the_size_in_the_header_is_the_size_of_the_image(kind, size):
    image = encoded(picture(*size), kind)
    assert tuple(images.header_size(tf.constant(image)).numpy()) == size


def test_a_progressive_jpeg_with_a_comment_has_its_size_too():
    file = io.BytesIO()
    picture(30, 50).save(file, "JPEG", progressive=True, comment=b"x" * 5000)
    assert images.header_size(tf.constant(file.getvalue())).numpy().tolist() == [30, 50]


def test_a_bmp_whose_rows_run_from_the_top_has_its_size_too():
    image = bytearray(encoded(picture(5, 9), "BMP"))
    image[22:26] = struct.pack("<i", -5)
    assert images.header_size(tf.constant(bytes(image))).numpy().tolist() == [5, 9]


@pytest.mark.parametrize("image", [b"", b"B", b"hello", b"RIFF\0\0\0\0WEBP", b"%PDF-1.7"])
def test_bytes_of_another_kind_have_no_size(image):
    assert images.header_size(tf.constant(image)).numpy().tolist() == [0, 0]


# Too large


@pytest.fixture(scope="module")
def bomb() -> bytes:
    return huge_png(20_000)  # 1.2 GB decoded


def test_an_image_of_too_many_pixels_is_refused_without_being_decoded(bomb):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 50000000 pixels"):
        images.decode(tf.constant(bomb))
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kb < 100_000


def test_what_is_wrong_with_an_image_of_too_many_pixels_is_said_without_decoding_it(bomb):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert images.problem(bomb) == "20000 x 20000 pixels, more than 50,000,000"
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kb < 100_000


@pytest.mark.parametrize("kind", FORMATS)
def test_the_limit_itself_is_allowed(kind):
    image = encoded(picture(10, 10), kind)
    assert images.problem(image, max_pixels=100) is None
    assert images.problem(image, max_pixels=99) == "10 x 10 pixels, more than 99"


def test_the_limit_counts_pixels_also_where_32_bits_overflow():
    image = bytearray(encoded(picture(2, 2), "BMP"))
    image[18:26] = struct.pack("<ii", 2**16, 2**16)  # their product is 0 in 32 bits
    assert images.problem(bytes(image)) == "65536 x 65536 pixels, more than 50,000,000"


# Pixels


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_pixels_of_lossless_formats_are_exact(kind):
    image = encoded(picture(6, 9), kind)
    np.testing.assert_array_equal(images.decode(tf.constant(image)), as_rgb(image))


def test_pixels_of_a_jpeg_are_those_of_pillow_up_to_rounding():
    image = encoded(picture(32, 48), "JPEG")
    difference = images.decode(tf.constant(image)).numpy().astype(int) - as_rgb(image)
    assert np.abs(difference).max() <= 3


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "L"), ("PNG", "P"), ("JPEG", "L"), ("PNG", "1")]
)
def test_grey_and_palette_images_become_rgb(kind, mode):
    image = encoded(picture(16, 16, mode), kind)
    difference = images.decode(tf.constant(image)).numpy().astype(int) - as_rgb(image)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_a_transparent_image_is_seen_on_white(mode):
    opacity = np.linspace(0, 255, 54).astype("uint8").reshape(6, 9)
    seen = picture(6, 9, mode)
    if mode == "P":
        file = io.BytesIO()
        seen.save(file, "PNG", transparency=bytes(range(0, 256)))
        image = file.getvalue()
    else:
        seen.putalpha(Image.fromarray(opacity))
        image = encoded(seen, "PNG")
    layers = Image.open(io.BytesIO(image)).convert("RGBA")
    white = Image.new("RGBA", layers.size, "white")
    expected = np.asarray(Image.alpha_composite(white, layers).convert("RGB")).astype(int)
    assert np.abs(images.decode(tf.constant(image)).numpy() - expected).max() <= 1


@pytest.mark.parametrize("kind", FORMATS)
def test_one_pixel_fills_the_scaled_image(kind):
    image = encoded(Image.new("RGB", (1, 1), (10, 20, 30)), kind)
    scaled = images.decode_and_resize(tf.constant(image), SIZE).numpy().astype(int)
    assert np.abs(scaled - [10, 20, 30]).max() <= 2


def test_scaling_down_averages_rather_than_skips():
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255  # every second pixel is white
    image = encoded(Image.fromarray(board.astype("uint8")), "PNG")
    scaled = images.decode_and_resize(tf.constant(image), SIZE).numpy().astype(int)
    assert np.abs(scaled - 127.5).max() <= 8


def test_the_whole_picture_is_kept_whatever_its_sides():
    wide = Image.new("RGB", (40, 10), "black")
    wide.paste("white", (20, 0, 40, 10))
    scaled = images.decode_and_resize(tf.constant(encoded(wide, "PNG")), SIZE).numpy()
    assert (scaled[:, 0].max(), scaled[:, -1].min()) == (0, 255)


# Batches


GOOD = [encoded(picture(9 + i, 20 - i), kind) for i, kind in enumerate(FORMATS)]
JPEG = encoded(picture(40, 40), "JPEG")
BAD = [b"", b"no image", JPEG[: len(JPEG) // 2], b"\x89PNG\r\n\x1a\n", JPEG[:3]]


def test_a_batch_of_mixed_sizes_equals_its_images_one_by_one():
    batch = images.decode_batch(tf.constant(GOOD * 10), SIZE)
    alone = [images.decode_and_resize(tf.constant(image), SIZE) for image in GOOD] * 10
    np.testing.assert_array_equal(batch, np.stack(alone))


def test_a_batch_of_no_images_is_empty():
    batch = images.decode_batch(tf.zeros([0], tf.string), SIZE)
    assert (batch.shape, batch.dtype) == ((0, SIZE, SIZE, 3), tf.uint8)


def test_exactly_the_rows_that_cannot_be_read_are_named():
    mixed = [GOOD[0], BAD[0], GOOD[1], BAD[2], GOOD[2], BAD[1], BAD[3], BAD[4]]
    words = r"(?s)cannot read row.*\b1, 3, 5, 6, 7$"
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        images.decode_batch(tf.constant(mixed), SIZE)


def test_when_no_row_can_be_read_all_are_named():
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)cannot read row.*\b0, 1$"):
        images.decode_batch(tf.constant(BAD[:2]), SIZE)


def test_a_row_of_too_many_pixels_is_named():
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)at most 300 pixels.*row.*\b1$"):
        images.decode_batch(tf.constant([GOOD[0], JPEG]), SIZE, max_pixels=300)


class Reader(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def read(self, batch):
        return images.decode_batch(batch, SIZE)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("reader")
    tf.saved_model.save(Reader(), str(path))
    return tf.saved_model.load(str(path))


def test_a_saved_model_reads_the_same_pixels(saved):
    batch = tf.constant(GOOD)
    np.testing.assert_array_equal(saved.read(batch), images.decode_batch(batch, SIZE))


def test_a_saved_model_names_the_rows_it_cannot_read(saved):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"cannot read row.*\[1\]"):
        saved.read(tf.constant([GOOD[0], BAD[2]]))


# Problems


@pytest.mark.parametrize("image", GOOD)
def test_a_good_image_has_no_problem(image):
    assert images.problem(image) is None


@pytest.mark.parametrize("image", [b"", b"no image", b"\0" * 100])
def test_other_bytes_are_said_to_be_no_image(image):
    assert images.problem(image) == "not a JPEG, PNG or BMP image"


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_cut_in_half_is_said_to_be_damaged(kind):
    image = encoded(picture(40, 40), kind)
    assert images.problem(image[: len(image) // 2]) == "damaged or cut short"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_image_with_a_damaged_middle_is_said_to_be_damaged(kind):
    image = bytearray(encoded(picture(40, 40), kind))
    middle = 20 if kind == "JPEG" else len(image) // 2
    image[middle : middle + 30] = b"\xff" * 30
    assert images.problem(bytes(image)) == "damaged or cut short"


@pytest.mark.parametrize("kind", FORMATS)
def test_wherever_an_image_is_cut_its_problem_is_known_if_it_cannot_be_decoded(kind, saved):
    image = encoded(picture(12, 12), kind)
    cuts = [image[:end] for end in range(0, len(image), max(len(image) // 25, 1))]

    def fails(cut: bytes) -> bool:
        try:
            saved.read(tf.constant([cut]))
        except tf.errors.InvalidArgumentError:
            return True
        return False

    assert [images.problem(cut) is not None for cut in cuts] == [fails(cut) for cut in cuts]


def test_a_gif_is_refused_since_its_header_does_not_bound_its_frames():
    assert images.problem(encoded(picture(10, 10), "GIF")) == "not a JPEG, PNG or BMP image"
