"""Small inputs that a signature takes, to run it before the first request."""

import base64

import numpy as np

from serving import sounds
from serving.errors import RequestError
from serving.limits import SAMPLE_RATE
from serving.signatures import Field, Signature

# One grey pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)


def inputs(signature: Signature) -> dict[str, np.ndarray]:
    """One row for each input, and a second of sound or one value where a size is free."""
    sizes = {
        length: signature.inputs[name].sample_rate or 1
        for name, (length, _) in signature.lengths.items()
    }
    arrays = {}
    for name, field in signature.inputs.items():
        arrays[name] = np.empty(_shape(field), field.dtype)
        # `np.full` would cut the zeros at the end of bytes, and so the silence.
        arrays[name].fill(sizes.get(name, _value(field)))
    return arrays


def _shape(field: Field) -> list[int]:
    shape = [size or 1 for size in field.shape or ()]
    if field.sample_rate and field.dtype != object and field.shape and field.shape[-1] is None:
        shape[-1] = field.sample_rate
    return shape


def _value(field: Field) -> bytes | int:
    if field.dtype == np.dtype("V"):
        raise RequestError("JSON has no form for the type of an input")
    if field.dtype != object:
        return 0
    if field.media_type.startswith("image/"):
        return PNG
    if field.media_type.startswith("audio/"):
        rate = field.sample_rate or SAMPLE_RATE
        return sounds.encode(np.zeros(rate), rate)
    return b"what is it"
