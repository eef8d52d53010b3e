"""How much a request may ask for, checked before anything is decoded."""

import struct

import numpy as np

from serving.errors import RequestError
from serving.options import Limits
from serving.signatures import Field, Signature

SAMPLE_RATE = 16_000  # of WAV files for which the card names none, in Hz
_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # JPEG's frame headers, which hold the size
_MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"BM": "BMP", b"GIF8": "GIF"}


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
    images = values[[any(map(value.startswith, _MAGIC)) for value in values]]
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
    kind = next((kind for magic, kind in _MAGIC.items() if image.startswith(magic)), None)
    try:
        if kind == "JPEG":
            height, width = _jpeg_size(image)
        elif kind == "PNG":
            width, height = struct.unpack(">II", image[16:24])
        elif kind == "GIF":
            width, height = struct.unpack("<HH", image[6:10])
        elif kind == "BMP":
            width, height = (abs(size) for size in struct.unpack("<ii", image[18:26]))
        else:
            return None, 0, 0
    except struct.error:  # cut short
        return None, 0, 0
    return (kind, height, width) if height and width else (None, 0, 0)


def _jpeg_size(image: bytes) -> tuple[int, int]:
    """The largest frame that any header of the file announces."""
    place, best = 2, (0, 0)
    while place + 9 <= len(image) and image[place] == 0xFF:
        marker = image[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
            continue
        if marker in _SOF:
            best = max(best, struct.unpack(">HH", image[place + 5 : place + 9]), key=np.prod)
        if marker == 0xDA:  # the picture itself begins
            break
        alone = marker == 0x01 or 0xD0 <= marker <= 0xD8
        place += 2 if alone else 2 + struct.unpack(">H", image[place + 2 : place + 4])[0]
    return best
