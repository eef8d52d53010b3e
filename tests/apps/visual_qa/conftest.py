"""Small data sets in the official file layouts, and one run to ask questions of."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def encoded_image(seed: int = 0, size: tuple[int, int] = (24, 18), kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture
def daquar(tmp_path) -> Path:
    """Forty photos, three questions each, in the layout of the DAQUAR page."""
    root = tmp_path / "daquar"
    (root / "images").mkdir(parents=True)
    lines = []
    for number in range(1, 41):
        (root / "images" / f"image{number}.png").write_bytes(encoded_image(number))
        lines += [
            f"what is on the desk in the image{number} ?",
            "book, scissor",
            f"how many chairs are in the image{number} ?",
            str(number % 4),
            f"what color is the wall in this image{number} ?",
            "white",
        ]
    (root / "qa.894.raw.train.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def vqa_v2(tmp_path) -> Path:
    """Official question and annotation JSON with COCO file names; thirty images a part."""
    root = tmp_path / "vqa"
    for part in ("train2014", "val2014"):
        (root / part).mkdir(parents=True)
        questions, annotations = [], []
        for image_id in range(1, 31):
            name = f"COCO_{part}_{image_id:012d}.jpg"
            (root / part / name).write_bytes(encoded_image(image_id, kind="JPEG"))
            question_id = image_id * 1000
            number = image_id % 2 == 0
            people = ["two"] * 3 + ["2"] * 4 + ["3"] * 3 if number else ["A dog."] * 10
            questions.append(
                {
                    "image_id": image_id,
                    "question_id": question_id,
                    "question": "How many dogs are there?",
                }
            )
            annotations.append(
                {
                    "image_id": image_id,
                    "question_id": question_id,
                    "answer_type": "number" if number else "other",
                    "question_type": "how many",
                    "multiple_choice_answer": "2",
                    "answers": [
                        {"answer": answer, "answer_id": place, "answer_confidence": "yes"}
                        for place, answer in enumerate(people, start=1)
                    ],
                }
            )
        (root / f"v2_OpenEnded_mscoco_{part}_questions.json").write_text(
            json.dumps({"questions": questions})
        )
        (root / f"v2_mscoco_{part}_annotations.json").write_text(
            json.dumps({"annotations": annotations})
        )
    return root


@pytest.fixture
def clevr(tmp_path) -> Path:
    """CLEVR_v1.0 as its archive unpacks; forty training, four validation images."""
    root = tmp_path / "clevr"
    for part, count in (("train", 40), ("val", 4)):
        images = root / "CLEVR_v1.0" / "images" / part
        images.mkdir(parents=True)
        questions = []
        for number in range(count):
            name = f"CLEVR_{part}_{number:06d}.png"
            (images / name).write_bytes(encoded_image(number))
            questions += [
                {"image_filename": name, "question": question, "answer": answer}
                for question, answer in (
                    ("Is there a cube?", "yes"),
                    ("How many balls?", "3"),
                    ("What is the small thing made of?", "metal"),
                )
            ]
        path = root / "CLEVR_v1.0" / "questions" / f"CLEVR_{part}_questions.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"questions": questions}))
    return root


@pytest.fixture(scope="session")
def vqa_run(tiny_run) -> Path:
    return tiny_run("visual_qa")
