"""One run to ask questions of, and images to ask about."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def encoded_image(seed: int = 0, size: tuple[int, int] = (24, 18), kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="session")
def caption_run(tiny_run) -> Path:
    return tiny_run("image_captioning")
