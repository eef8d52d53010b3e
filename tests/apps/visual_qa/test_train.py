"""Training learns, and impossible options are refused."""

import dataclasses
import functools

import keras
import pytest

from apps.visual_qa import config, data
from apps.visual_qa.model import Sizes, build_model
from common.runs.errors import UserError
from common.training import losses


def test_learns_sixteen_images_by_heart(cache_dir):
    options = dataclasses.replace(config.TINY.data, cache_dir=cache_dir, max_images=16)
    shown = data.make_training_data(options, image_size=16, batch_size=4, questions_per_image=16)
    words, answers = shown.found.vocabularies
    keras.utils.set_random_seed(1)
    model = build_model(config.TINY.model, Sizes(len(words), len(answers)))
    fitted = keras.Model(model.input, model.output["logits"])
    steps = 800
    fitted.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps)),
        losses.WeightedCrossEntropy(),
        weighted_metrics=["accuracy"],
    )
    batches = shown.batches(seed=1).map(functools.partial(data.as_training, inputs=model.input))
    fitted.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)
    found = fitted.evaluate(batches, steps=shown.num_batches, verbose=0, return_dict=True)
    assert found["accuracy"] > 0.99


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
