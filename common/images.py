"""Encoded images to pixels: bytes (batch,) -> uint8 (batch, size, size, 3). Graph-safe.

The same functions run in tf.data, in prediction and inside the SavedModel. JPEG, PNG and BMP; grey,
palette and alpha images come out as RGB. No GIF: its frames may be larger than its header says,
so that a cap on pixels could not be kept before decoding.
"""

import tensorflow as tf

MAX_PIXELS = 50_000_000  # about 150 MB decoded; a 20,000 x 20,000 PNG of a few kB would need 1.2 GB


def header_size(image: tf.Tensor) -> tf.Tensor:
    """Reads (height, width), int64 (2,), from the header of an encoded image without decoding it.

    Returns (0, 0) for bytes that begin like none of the three formats.
    """
    head = tf.strings.substr(tf.strings.join([image, b"\0" * 32]), 0, 32)  # short bytes too

    def two_integers(start: int, dtype: tf.DType, *, little_endian: bool = True) -> tf.Tensor:
        raw = tf.strings.substr(head, start, 2 * dtype.size)
        return tf.cast(tf.io.decode_raw(raw, dtype, little_endian=little_endian), tf.int64)

    def starts(magic: bytes) -> tf.Tensor:
        return tf.strings.substr(head, 0, len(magic)) == magic

    width_height = tf.case(
        [
            (
                starts(b"\xff\xd8\xff"),
                lambda: tf.cast(tf.image.extract_jpeg_shape(image)[1::-1], tf.int64),
            ),
            (starts(b"\x89PNG\r\n\x1a\n"), lambda: two_integers(16, tf.int32, little_endian=False)),
            # The height of a BMP is negative when its rows run from the top.
            (starts(b"BM"), lambda: tf.abs(two_integers(18, tf.int32))),
        ],
        default=lambda: tf.zeros(2, tf.int64),
    )
    return tf.reverse(width_height, [0])


def decode(image: tf.Tensor, *, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Decodes one image, string (), to uint8 (height, width, 3).

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
        return tf.io.decode_image(tf.identity(image), channels=3, expand_animations=False)


def decode_and_resize(image: tf.Tensor, size: int, *, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Decodes one image, string (), and scales it to uint8 (size, size, 3).

    The whole picture is kept and its sides are scaled apart, so that nothing a question may ask
    about is cropped away. Bilinear with antialiasing.
    """
    pixels = decode(image, max_pixels=max_pixels)
    # Static rank: decode_image leaves it open, and resize needs it.
    resized = tf.image.resize(
        tf.reshape(pixels, tf.shape(pixels)[:3]), [size, size], antialias=True
    )
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


_traced_header_size = tf.function(  # eager, its branches take longer than decoding a small image
    header_size, input_signature=[tf.TensorSpec([], tf.string)], autograph=False
)
