"""How much a request may ask for, checked before anything is decoded."""

import io
import struct

import numpy as np
from PIL import Image

from serving.errors import RequestError
from serving.options import Limits
from serving.signatures import Field, Signature

SAMPLE_RATE = 16_000  # of WAV files for which the card names none, in Hz
FORMATS = ("JPEG", "PNG", "BMP", "GIF")
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF8")
Image.MAX_IMAGE_PIXELS = None  # the limits here stand in its place


def check(signature: Signature, inputs: dict[str, np.ndarray], limits: Limits) -> tuple[int, float]:
    """Refuses what exceeds the limits.

    Returns:
        The rows of the request (1 when it cannot be joined with others), and the part of the most
        that a request may ask for that its longest row takes, in [0, 1].

    Raises:
        RequestError: 400, what was expected and what came.
    """
    rows = max((values.shape[0] for values in inputs.values() if values.ndim), default=1)
    if rows > limits.max_rows:
        raise RequestError(f"expected at most {limits.max_rows} rows in a request, got {rows}")
    parts = [0.0]
    for name, values in inputs.items():
        field = signature.inputs[name]
        if field.batched and len(values) != rows:
            raise RequestError(f"{name}: expected {rows} rows as of the others, got {len(values)}")
        if values.dtype == object:
            parts.append(_check_strings(name, values.reshape(-1), field, limits))
        elif field.sample_rate:
            if values.ndim and values.shape[-1] < field.min_samples:
                raise RequestError(
                    f"{name}: expected at least {field.min_samples} samples, got {values.shape[-1]}"
                )
            parts.append(_check_seconds(name, values.size / field.sample_rate, limits))
    for name, (length, axis) in signature.lengths.items():
        if not ((inputs[length] >= 0) & (inputs[length] <= inputs[name].shape[axis])).all():
            raise RequestError(
                f"{length}: expected at most the {inputs[name].shape[axis]} values "
                f"of {name}, got {inputs[length].tolist()[:8]}"
            )
    return rows, max(parts) / rows


def _check_strings(name: str, values: np.ndarray, field: Field, limits: Limits) -> float:
    if field.media_type.startswith("image/"):
        return _check_images(name, values, field, limits)
    if field.media_type.startswith("audio/"):
        return _check_wavs(name, values, field, limits)
    if field.media_type.startswith("text/"):
        return _check_texts(name, values, limits)
    # The card does not say: whatever looks like an image is one.
    images = values[[value.startswith(_MAGIC) for value in values]]
    return _check_images(name, images, field, limits)


def _check_texts(name: str, values: np.ndarray, limits: Limits) -> float:
    for index, value in enumerate(values):
        try:
            size = len(value.decode())
        except UnicodeDecodeError:
            raise RequestError(f"{name}: expected UTF-8 text in row {index}") from None
        if size > limits.max_characters:
            raise RequestError(
                f"{name}: expected at most {limits.max_characters} characters "
                f"a text, got {size} in row {index}"
            )
    return 0.0


def _check_images(name: str, values: np.ndarray, field: Field, limits: Limits) -> float:
    total = 0
    for index, value in enumerate(values):
        kind, height, width = image_size(value)
        if kind is None or (field.formats and kind not in field.formats):
            raise RequestError(
                f"{name}: expected {', '.join(field.formats) or 'an image'}; row {index} is "
                f"{kind or 'cut short or of another format'}"
            )
        if field.max_pixels is not None and height * width > field.max_pixels:
            raise RequestError(
                f"{name}: expected at most {field.max_pixels} pixels an image, "
                f"got {height} x {width} in row {index}"
            )
        total += height * width
    if total > limits.max_megapixels * 1e6:
        raise RequestError(
            f"{name}: expected at most {limits.max_megapixels:g} megapixels in a "
            f"request, got {total / 1e6:.1f}"
        )
    return total / (limits.max_megapixels * 1e6)


def _check_wavs(name: str, values: np.ndarray, field: Field, limits: Limits) -> float:
    seconds = 0.0
    for value in values:
        channels = struct.unpack("<H", value[22:24])[0] if value[12:16] == b"fmt " else 1
        rate = 2 * (field.sample_rate or SAMPLE_RATE) * max(1, min(channels, 8))
        seconds += len(value) / rate
    return _check_seconds(name, seconds, limits)


def _check_seconds(name: str, seconds: float, limits: Limits) -> float:
    if seconds > limits.max_audio_s:
        raise RequestError(
            f"{name}: expected at most {limits.max_audio_s:g} s of sound in a "
            f"request, got about {seconds:.0f} s"
        )
    return seconds / limits.max_audio_s


def image_size(image: bytes) -> tuple[str | None, int, int]:
    """Kind, height and width by the header alone; (None, 0, 0) when it cannot be told."""
    try:
        with Image.open(io.BytesIO(image), formats=FORMATS) as picture:
            kind = "JPEG" if picture.format == "MPO" else picture.format  # of a JPEG with a preview
            return kind, picture.height, picture.width
    except Exception:  # Pillow raises many kinds for a damaged header
        return None, 0, 0
