"""Encoded images to pixels: bytes (batch,) -> uint8 (batch, size, size, 3). Graph-safe.

The same functions run in tf.data, in prediction and inside the SavedModel. JPEG, PNG and BMP; grey
and palette images come out as RGB, a transparent PNG as it looks on white paper, a photo as its
EXIF orientation says. No GIF: its frames
may be larger than its header says, so that no limit on pixels could be checked before decoding.
"""

import os
from pathlib import Path

import tensorflow as tf

from common.inputs.orientation import PNG, turn_upright
from common.runs.errors import UserError

MAX_PIXELS = 50_000_000  # about 150 MB decoded; a 20,000 x 20,000 PNG of a few kB would need 1.2 GB
_OPACITY_KINDS = (b"\3", b"\4", b"\6")  # of the colour type, byte 25


def header_size(image: tf.Tensor) -> tf.Tensor:
    """Reads (height, width), int64 (2,), from the header of an encoded image without decoding it.

    Returns (0, 0) for bytes that begin like none of the three formats.
    """
    head = tf.strings.substr(tf.strings.join([image, b"\0" * 32]), 0, 32)  # short bytes too

    def two_integers(start: int, dtype: tf.DType, *, little_endian: bool = True) -> tf.Tensor:
        raw = tf.strings.substr(head, start, 2 * dtype.size)
        return tf.cast(tf.io.decode_raw(raw, dtype, little_endian=little_endian), tf.int64)

    width_height = tf.case(
        [
            (
                _starts(head, b"\xff\xd8\xff"),
                lambda: tf.cast(tf.image.extract_jpeg_shape(image)[1::-1], tf.int64),
            ),
            (_starts(head, PNG), lambda: two_integers(16, tf.int32, little_endian=False)),
            # The height of a BMP is negative when its rows run from the top.
            (_starts(head, b"BM"), lambda: tf.abs(two_integers(18, tf.int32))),
        ],
        default=lambda: tf.zeros(2, tf.int64),
    )
    return tf.reverse(width_height, [0])


def decode(image: tf.Tensor, *, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Decodes one image, string (), to uint8 (height, width, 3), turned upright as EXIF says.

    Raises:
        tf.errors.InvalidArgumentError: not an image, cut short, or more than `max_pixels`.
    """
    height, width = tf.unstack(header_size(image), num=2)
    check = [
        tf.debugging.Assert(
            tf.logical_and(height > 0, width > 0),
            ["expected a JPEG, PNG or BMP image, got bytes of another kind"],
        ),
        tf.debugging.Assert(
            height * width <= max_pixels,
            [f"expected an image of at most {max_pixels} pixels, got height, width", height, width],
        ),
    ]
    with tf.control_dependencies(check):
        image = tf.identity(image)
        pixels = tf.cond(
            _has_opacity(image),
            lambda: _on_white(tf.io.decode_png(image, channels=4)),
            lambda: tf.io.decode_image(image, channels=3, expand_animations=False),
        )
        # Static rank: decode_image leaves it open, and turning and scaling need it.
        return turn_upright(tf.ensure_shape(pixels, [None, None, 3]), image)


def _starts(image: tf.Tensor, magic: bytes) -> tf.Tensor:
    return tf.strings.substr(image, 0, len(magic)) == magic


def _has_opacity(image: tf.Tensor) -> tf.Tensor:
    """Whether it is a PNG of a kind that may be transparent: palette, grey or colours with alpha.

    The others stay out: of less than eight bits, TensorFlow 2.21 reads them wrongly as such.
    """
    head = tf.strings.join([tf.strings.substr(image, 0, 26), b"\0" * 26])  # short bytes too
    return _starts(head, PNG) & tf.reduce_any(tf.strings.substr(head, 25, 1) == _OPACITY_KINDS)


def _on_white(pixels: tf.Tensor) -> tf.Tensor:
    """Colours and opacity, uint8 (height, width, 4) -> the colours before white."""
    colours, opacity = pixels[..., :3], pixels[..., 3:]

    def mixed() -> tf.Tensor:
        share = tf.cast(opacity, tf.uint16)
        summed = tf.cast(colours, tf.uint16) * share + 255 * (255 - share)
        return tf.cast((summed + 127) // 255, tf.uint8)

    # Most images have no transparent pixel, and a large one needs memory to be mixed.
    return tf.cond(tf.reduce_min(opacity) < 255, mixed, lambda: colours)


def decode_and_resize(image: tf.Tensor, size: int, *, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Decodes one image, string (), and scales it to uint8 (size, size, 3).

    The whole picture is scaled, without regard to its proportions: a crop could lose what a
    question is about. Bilinear with antialiasing.
    """
    pixels = decode(image, max_pixels=max_pixels)
    resized = tf.image.resize(pixels, [size, size], antialias=True)
    pixels = tf.cast(tf.round(tf.clip_by_value(resized, 0.0, 255.0)), tf.uint8)
    return tf.ensure_shape(pixels, [size, size, 3])


def decode_batch(images: tf.Tensor, size: int, *, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Decodes encoded images of any sizes, string (batch,), to uint8 (batch, size, size, 3).

    Raises:
        tf.errors.InvalidArgumentError: names the rows that are no images or too large.
    """
    # A graph has no try: rows that fail drop out of a tf.data pipeline, and the gaps name them.
    num_images = tf.size(images, out_type=tf.int64)
    decoded = (
        tf.data.Dataset.from_tensor_slices(images)
        .enumerate()
        .map(
            lambda row, image: (row, decode_and_resize(image, size, max_pixels=max_pixels)),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .ignore_errors(log_warning=False)
    )
    # One blank row at the end, so that a batch without a single good image still has a result.
    blank = tf.data.Dataset.from_tensors((num_images, tf.zeros([size, size, 3], tf.uint8)))
    rows, pixels = decoded.concatenate(blank).batch(num_images + 1).get_single_element()
    missing = tf.sets.difference([tf.range(num_images)], [rows[:-1]]).values
    good = tf.debugging.Assert(
        tf.size(missing) == 0,
        [
            f"image: expected JPEG, PNG or BMP of at most {max_pixels} pixels, whole; "
            "cannot read row",
            missing,
        ],
        summarize=20,
    )
    with tf.control_dependencies([good]):
        return tf.ensure_shape(pixels[:-1], [None, size, size, 3])


def read(path: Path) -> tuple[bytes, str | None]:
    """The bytes of an image file, and why they cannot be used: `problem`, or b"" and no file."""
    try:
        if os.path.isfile(path):  # not a folder, nor a pipe, which would be waited for
            image = path.read_bytes()
            return image, problem(image)
    except OSError as error:
        return b"", f"unreadable ({error.strerror})"
    hint = ": write / for \\ in its path" if "\\" in str(path) and os.sep == "/" else ""
    return b"", f"no such file{hint}"


def problem(image: bytes, *, max_pixels: int = MAX_PIXELS) -> str | None:
    """Says in a few words why these bytes cannot be used as an image; None when they can."""
    try:
        height, width = _traced_header_size(tf.constant(image)).numpy()
        if not (height and width):
            return "not a JPEG, PNG or BMP image"
        if height * width > max_pixels:
            return f"{width} x {height} pixels, more than {max_pixels:,}"
        tf.io.decode_image(image, channels=3, expand_animations=False)
    # TensorFlow quotes the bytes in some messages, and then fails to read its own message.
    except (tf.errors.InvalidArgumentError, UnicodeDecodeError):
        return "damaged or cut short"
    return None


def require(image: bytes, which: str = "") -> None:
    """Raises UserError if these bytes cannot be used as an image; `which` says what they are."""
    if (reason := problem(image)) is not None:
        raise UserError(f"expected an image, got one that is {reason}{which}: use another file")


_traced_header_size = tf.function(  # eager, its branches take longer than decoding a small image
    header_size, input_signature=[tf.TensorSpec([], tf.string)], autograph=False
)
