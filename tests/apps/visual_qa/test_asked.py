"""Facts about asking every question of some records."""

import pytest
import tensorflow as tf
from PIL import Image

from apps.visual_qa import asked, config, data, evaluate, predict


@pytest.fixture(scope="module")
def records(cache_dir):
    options = config.DataConfig(cache_dir=cache_dir, max_images=128)
    return list(data.load_split(options, "validation"))


@pytest.fixture(scope="module")
def rows(vqa_run, records):
    return list(asked.ask(predict.load_answerer(vqa_run), records))


def test_every_question_is_asked_about_its_image(rows, records):
    assert len(rows) == sum(len(record["question"]) for record in records)
    first = records[0]
    assert rows[0].image == first["image"].numpy()
    assert rows[0].question == first["question"][0].numpy().decode()
    assert rows[0].kind in ("yes/no", "color", "shape")


def test_the_share_of_right_answers_is_the_accuracy(rows, vqa_run):
    right = sum(one.given == one.right for one in rows) / len(rows)
    assert right == pytest.approx(evaluate.evaluate(vqa_run).metrics["accuracy"], abs=1e-9)


def test_the_saved_model_can_be_asked(rows, records, tiny_export):
    saved = tf.saved_model.load(str(tiny_export("visual_qa"))).signatures["serving_default"]
    found = list(asked.ask(saved, records[:2]))
    for here, there in zip(rows, found, strict=False):
        assert here[:-1] == there[:-1]
        assert here.probability == pytest.approx(there.probability, rel=1e-4)


def test_pictures_have_a_row_for_every_four_images(rows, records, tmp_path):
    heights = []
    for count in (4, 5):
        asked.draw_records(records[:count], title="data", path=tmp_path / f"records{count}.png")
        asked.draw_asked(rows[:count], title="asked", path=tmp_path / f"{count}.png")
        with Image.open(tmp_path / f"{count}.png") as file:
            heights.append(file.size[1])
    assert heights[1] > 1.7 * heights[0]
    with Image.open(tmp_path / "records4.png") as file:
        assert file.size[0] == 4 * 2.6 * 120
