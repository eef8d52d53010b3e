"""A tiny run, and small data sets in the official layouts."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apps.image_captioning import predict


def encoded_image(seed: int = 0, size: tuple[int, int] = (24, 18), kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="session")
def caption_run(tiny_run) -> Path:
    return tiny_run("image_captioning")


@pytest.fixture(scope="session")
def predictor(caption_run) -> predict.Predictor:
    return predict.Predictor.load(caption_run)


@pytest.fixture
def karpathy(tmp_path) -> Path:
    """Thirty photos in three parts, two captions each, in the layout of Karpathy's dataset.json."""
    root = tmp_path / "karpathy"
    (root / "imgs").mkdir(parents=True)
    images = []
    splits = ["test"] * 5 + ["val"] * 5 + ["train"] * 19 + ["restval"]
    for number, split in enumerate(splits):
        (root / "imgs" / f"{number}.png").write_bytes(encoded_image(number))
        texts = (f"There are {number} trees.", "A green field .")
        images.append(
            {
                "filename": f"{number}.png",
                "split": split,
                "sentences": [{"raw": text, "tokens": text.split()} for text in texts],
            }
        )
    (root / "dataset.json").write_text(json.dumps({"dataset": "x", "images": images}))
    return root


@pytest.fixture
def flickr8k(tmp_path) -> Path:
    """Twenty listed photos, two of them absent, in the layout of the Flickr8k archive."""
    root = tmp_path / "flickr8k"
    (root / "Flicker8k_Dataset").mkdir(parents=True)
    (root / "Flickr8k_text").mkdir()
    names = [f"{number:03d}_photo.jpg" for number in range(20)]
    for number, name in enumerate(names):
        if number not in (3, 17):
            photo = root / "Flicker8k_Dataset" / name
            photo.write_bytes(encoded_image(number, kind="JPEG"))
    lines = [f"{name}#{n}\tA dog number {n} runs ." for name in names for n in range(5)]
    (root / "Flickr8k_text" / "Flickr8k.token.txt").write_text("\n".join(lines) + "\n")
    for part, listed in (("train", names[:15]), ("dev", names[15:])):
        (root / "Flickr8k_text" / f"Flickr_8k.{part}Images.txt").write_text("\n".join(listed))
    return root


@pytest.fixture
def captions_folder(tmp_path) -> Path:
    """Sixty images of one's own with captions.csv, and one image without a caption."""
    root = tmp_path / "folder"
    root.mkdir()
    rows = ["image,caption"]
    for number in range(60):
        (root / f"{number}.png").write_bytes(encoded_image(number))
        rows += [f"{number}.png,a thing", f'{number}.png,"a thing, again"']
    (root / "forgotten.png").write_bytes(encoded_image(99))
    (root / "captions.csv").write_text("\n".join(rows) + "\n")
    return root
