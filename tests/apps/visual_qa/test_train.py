"""Training learns, and impossible options are refused."""

import csv
import dataclasses

import pytest

from apps.visual_qa import config, data, train
from common.errors import UserError


def test_learns_sixteen_images_by_heart(cache_dir, tmp_path):
    tiny = config.TINY
    options = dataclasses.replace(
        tiny,
        data=dataclasses.replace(tiny.data, cache_dir=cache_dir, max_images=16),
        train=dataclasses.replace(
            tiny.train, epochs=30, patience=30, batch_size=2, learning_rate=1e-2
        ),
    )
    train.train(options, tmp_path / "run")
    with (tmp_path / "run" / "history.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["accuracy"]) > 0.99


def test_data_with_a_single_answer_is_refused(daquar, cache_dir):
    path = daquar / "qa.894.raw.train.txt"
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join(line if place % 2 == 0 else "yes" for place, line in enumerate(lines))
    )
    options = config.DataConfig(name="daquar", root=daquar, cache_dir=cache_dir)
    with pytest.raises(UserError, match=r"two distinct training answers .* got \['yes'\]"):
        data.survey(data.load_split(options, "train"), options, questions_per_image=8)


@pytest.mark.parametrize(
    "change",
    [
        {"dropout": 1.0},
        {"hops": 0},
        {"word_vectors": "glove", "word_dim": 64},
    ],
)
def test_impossible_model_options_are_refused(change):
    with pytest.raises(ValueError, match=r"model\."):
        dataclasses.replace(config.SMALL.model, **change)
