"""Encoded images to pixels, as the network learned to see them."""

import contextlib
import io

import numpy as np
from PIL import Image

MAX_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG", "BMP")


def read(encoded: bytes, size: int) -> np.ndarray:
    """The bytes of a JPEG, PNG or BMP, upright and scaled as a whole -> uint8 (size, size, 3).

    Bilinear with antialiasing, as `tf.image.resize`.

    Raises:
        ValueError, OSError: another kind, damaged, or more than 50 million pixels.
    """
    with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ValueError(f"expected at most {MAX_PIXELS} pixels, got {width} x {height}")
        pixels = _upright(_on_white(image), image)
    scaled = _scaled(_scaled(pixels, size).swapaxes(0, 1), size).swapaxes(0, 1)
    return np.round(scaled.clip(0, 255)).astype(np.uint8)


def _on_white(image: Image.Image) -> np.ndarray:
    """Float32 (height, width, 3), as a transparent image looks on white paper."""
    if image.mode not in ("LA", "PA", "RGBA") and "transparency" not in image.info:
        return np.asarray(image.convert("RGB"), np.float32)
    pixels = np.asarray(image.convert("RGBA"), np.int32)
    share = pixels[..., 3:]
    return ((pixels[..., :3] * share + 255 * (255 - share) + 127) // 255).astype(np.float32)


def _upright(pixels: np.ndarray, image: Image.Image) -> np.ndarray:
    """Pixels (height, width, 3) turned as EXIF says; damaged EXIF counts as none."""
    orientation, exif = 1, Image.Exif()
    with contextlib.suppress(Exception):  # Pillow raises many kinds
        exif.load(image.info.get("exif", b""))  # XMP, where `image.getexif` looks too, is not asked
        orientation = exif.get(0x0112, 1)
    if orientation not in range(2, 9):
        return pixels
    pixels = pixels.swapaxes(0, 1) if orientation > 4 else pixels
    turns = (orientation - 1) % 4
    return pixels[:: -1 if turns >= 2 else 1, :: -1 if turns in (1, 2) else 1]


def _scaled(pixels: np.ndarray, size: int) -> np.ndarray:
    """Float32 (length, ...) -> (size, ...): each is a sum of neighbours, weighed by a triangle.

    In the order of TensorFlow's sums, so that halves are rounded to the same side.
    """
    length, unit = len(pixels), np.float32(1)
    step = unit / (np.float32(size) / np.float32(length))
    wide = max(step, unit)
    centre = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * step
    first = np.ceil(centre - wide - np.float32(0.5)).clip(0, length - 1).astype(int)
    places = first[:, None] + np.arange(int(2 * wide) + 2)  # (size, neighbours)
    far = np.abs(places.astype(np.float32) + np.float32(0.5) - centre[:, None]) * (unit / wide)
    weights = np.where(places < length, np.maximum(0, unit - far), 0)
    weights *= unit / np.cumsum(weights, axis=1, dtype=np.float32)[:, -1:]
    scaled = np.zeros((size, *pixels.shape[1:]), np.float32)
    for place, weight in zip(np.minimum(places, length - 1).T, weights.T, strict=True):
        scaled += weight[:, None, None] * pixels[place]
    return scaled
