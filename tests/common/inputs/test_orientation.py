"""Photos are turned upright as their EXIF says, in the graph and in the runtimes; PIL judges."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from common.export.standalone import pictures
from common.inputs import images, orientation

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8)
ALL = range(1, 9)
decode = tf.function(images.decode, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
in_graph = tf.function(
    orientation.read_orientation,
    input_signature=[tf.TensorSpec([], tf.string)],
    autograph=False,
)


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind)
    return file.getvalue()


JPEG, PNG = encoded("JPEG"), encoded("PNG")


def tiff(value: int, *, order: str = "<", before: int = 0, gap: int = 0, kind: int = 3) -> bytes:
    """EXIF with the orientation after `before` other entries, `gap` bytes after its header."""
    others = [(0x8000 + n, 2, 40, struct.pack(f"{order}I", 99)) for n in range(before)]
    number = struct.pack(order + {3: "HH", 4: "I"}[kind], *[value, 0][: 5 - kind])
    entries = [*others, (0x0112, kind, 1, number), (0x011A, 5, 1, bytes(4))]
    packed = b"".join(struct.pack(f"{order}HHI4s", *entry) for entry in entries)
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8 + gap)
    return head + bytes(gap) + struct.pack(f"{order}H", len(entries)) + packed + bytes(4 + 64)


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">HH", marker, len(content) + 2) + content


def chunk(name: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + check


def exif(content: bytes) -> bytes:
    return segment(0xFFE1, b"Exif\0\0" + content)


JFIF, REST = JPEG[2:20], JPEG[20:]
XMP = segment(0xFFE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>")
LAYOUTS = {  # of EXIF -> an image
    "APP1 alone": lambda content: JPEG[:2] + exif(content) + REST,
    "APP0 before it": lambda content: JPEG[:2] + JFIF + exif(content) + REST,
    "APP0 after it": lambda content: JPEG[:2] + exif(content) + JFIF + REST,
    "XMP before it": lambda content: JPEG[:2] + JFIF + XMP + exif(content) + REST,
    "a comment and a profile before it": lambda content: (
        JPEG[:2] + segment(0xFFFE, b"hi") + segment(0xFFE2, bytes(9999)) + exif(content) + REST
    ),
    "filled": lambda content: JPEG[:2] + b"\xff" * 5 + JFIF + b"\xff" + exif(content) + REST,
    "PNG": lambda content: PNG[:33] + chunk(b"eXIf", content) + PNG[33:],
    "PNG with text before it": lambda content: (
        PNG[:33] + chunk(b"tEXt", b"a\0b") + chunk(b"eXIf", content) + PNG[33:]
    ),
}
CONTENTS = {
    "low byte first": {},
    "high byte first": {"order": ">"},
    "last of many": {"before": 30},
    "last of many, high byte first": {"before": 200, "order": ">"},
    "a directory elsewhere": {"gap": 501},
    "a long number": {"kind": 4, "order": ">"},
}


def upright(image: bytes, value: int) -> np.ndarray:
    """The pixels of an image without EXIF, turned by PIL as EXIF would say."""
    picture = Image.fromarray(decode(tf.constant(image)).numpy())
    picture.getexif()[0x0112] = value
    return np.asarray(ImageOps.exif_transpose(picture))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("value", ALL)
def test_pixels_are_those_of_the_upright_picture(value, layout):
    image = LAYOUTS[layout](tiff(value, order="<>"[value % 2]))
    plain = PNG if layout.startswith("PNG") else JPEG
    np.testing.assert_array_equal(decode(tf.constant(image)), upright(plain, value))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("content", CONTENTS)
def test_the_orientation_is_found_wherever_it_stands(layout, content):
    for value in ALL:
        image = LAYOUTS[layout](tiff(value, **CONTENTS[content]))
        assert Image.open(io.BytesIO(image)).getexif()[0x0112] == value
        assert in_graph(tf.constant(image)).numpy() == value


def test_batches_and_runtimes_see_the_upright_picture():
    turned, plain = [LAYOUTS["PNG"](tiff(value)) for value in ALL], []
    for value in ALL:
        file = io.BytesIO()
        Image.fromarray(upright(PNG, value)).save(file, "PNG")
        plain.append(file.getvalue())
    decoded = images.decode_batch(tf.constant(turned + plain), 7).numpy()
    turned_pixels, plain_pixels = np.split(decoded, 2)
    np.testing.assert_array_equal(turned_pixels, plain_pixels)
    for image, pixels in zip(turned, plain_pixels, strict=True):
        np.testing.assert_array_equal(pictures.read(image, 7), pixels)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_runtimes_read_what_pillow_turns(layout):
    for value in ALL:
        image = LAYOUTS[layout](tiff(value, order="<>"[value % 2]))
        file = io.BytesIO()
        ImageOps.exif_transpose(Image.open(io.BytesIO(image))).save(file, "BMP")
        np.testing.assert_array_equal(pictures.read(image, 9), pictures.read(file.getvalue(), 9))


GOOD = tiff(6)
DAMAGED = {
    "none": b"",
    "of another kind": b"XX" + GOOD[2:],
    "of another order": b"MM" + GOOD[2:],
    "cut in its header": GOOD[:7],
    "cut in the entry": GOOD[: 8 + 2 + 11],
    "no directory": GOOD[:4] + struct.pack("<I", 4000) + GOOD[8:],
    "a directory at the end of numbers": GOOD[:4] + b"\xff" * 4 + GOOD[8:],
    "no entries": GOOD[:8] + bytes(2) + GOOD[10:],
    "0": tiff(0),
    "9": tiff(9),
    "65,535": tiff(65_535),
    "text": GOOD.replace(b"\x12\1\3\0", b"\x12\1\2\0"),
    "behind its count": tiff(6, before=3).replace(b"\5\0", b"\2\0", 1),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_exif_is_none(damage):
    for layout in LAYOUTS.values():
        assert in_graph(tf.constant(layout(DAMAGED[damage]))).numpy() == 1
    image = LAYOUTS["PNG"](DAMAGED[damage])
    np.testing.assert_array_equal(pictures.read(image, 7), pictures.read(PNG, 7))


def test_an_image_without_exif_is_upright():
    bmp = encoded("BMP")
    for image in (JPEG, PNG, bmp, JPEG[:3], PNG[:8], PNG[:20], b"", b"\xff\xd8" + b"\xff" * 999):
        assert in_graph(tf.constant(image)).numpy() == 1


def test_any_bytes_have_an_orientation():
    draw, values = np.random.default_rng(3), set()
    for number in range(400):
        content = {"before": number % 4, "order": "<>"[number % 2], "gap": number % 3}
        layout = list(LAYOUTS.values())[number % len(LAYOUTS)]
        image = bytearray(layout(tiff(number % 8 + 1, **content)))
        for place in draw.integers(0, 140, draw.integers(0, 5)):
            image[place] = draw.choice([0, 1, 2, 3, 4, 6, 18, 255, int(draw.integers(256))])
        image = bytes(image[: draw.choice([len(image), int(draw.integers(200))])])
        values.add(int(in_graph(tf.constant(image))))
    assert values == set(ALL)
