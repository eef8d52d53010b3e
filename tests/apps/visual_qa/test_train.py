"""Training learns, also in the sizes of the paper, and impossible options are refused."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
from PIL import Image

from apps.visual_qa import config, data, evaluate, export, train
from apps.visual_qa.model import (
    QUESTION_ONLY,
    build_model,
    load_inference,
    pooled_encoder,
    trained_part,
)
from common.inputs import images
from common.runs.errors import UserError
from common.training import losses

from .conftest import encoded_image


def compiled(model: keras.Model, learning_rate, *, eagerly: bool = False) -> keras.Model:
    fitted = keras.Model(model.input, model.output["logits"])
    fitted.compile(
        keras.optimizers.Adam(learning_rate),
        losses.WeightedCrossEntropy(),
        weighted_metrics=["accuracy"],
        run_eagerly=eagerly,
    )
    return fitted


def test_learns_sixteen_images_by_heart(cache_dir):
    options = dataclasses.replace(config.TINY.data, cache_dir=cache_dir, max_images=16)
    train_data = data.make_training_data(
        options, image_size=16, batch_size=4, questions_per_image=16
    )
    words, answers = train_data.survey.vocabularies
    keras.utils.set_random_seed(1)
    # Wider than TINY, which needs twice as many steps.
    sizes = dataclasses.replace(config.TINY.model, word_dim=32, question_units=32)
    model = build_model(sizes, num_words=len(words), num_answers=len(answers))
    steps = 400
    fitted = compiled(model, keras.optimizers.schedules.CosineDecay(7e-3, steps))
    as_training = functools.partial(data.as_training, inputs=model.input)
    batches = train_data.batches(seed=1).map(as_training)
    fitted.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)
    scores = fitted.evaluate(batches, steps=train_data.num_batches, verbose=0, return_dict=True)
    assert scores["accuracy"] > 0.99


def test_the_network_of_the_paper_learns_on_top_of_a_pretrained_encoder(cache_dir):
    paper = config.PAPER
    options = dataclasses.replace(paper.data, cache_dir=cache_dir, max_images=8)
    train_data = data.make_training_data(
        options, image_size=paper.model.image_size, batch_size=2, questions_per_image=16
    )
    words, answers = train_data.survey.vocabularies
    model = build_model(paper.model, num_words=len(words), num_answers=len(answers))
    assert model.output["attention"].shape[2:] == (2, 14, 14)  # two hops over 14 x 14 regions
    [encoder] = [layer for layer in model.layers if layer.name == "efficientnet_lite0"]
    scale = encoder.get_layer("bn1").gamma.numpy()
    assert not np.allclose(scale, 1.0), "random weights in place of ImageNet's"
    before, frozen = [w.numpy() for w in model.trainable_weights], encoder.get_weights()
    fitted = compiled(model, paper.train.learning_rate, eagerly=True)  # cheaper than its graph
    batches = train_data.batches(seed=1).map(
        functools.partial(data.as_training, inputs=model.input)
    )
    (features, target, weight), *_ = batches.take(1)
    first, second = (fitted.train_on_batch(features, target, weight)[0] for _ in range(2))
    assert second < first
    for new, old in zip(model.trainable_weights, before, strict=True):
        assert not np.array_equal(new.numpy(), old), new.path
    for new, old in zip(encoder.get_weights(), frozen, strict=True):
        np.testing.assert_array_equal(new, old)


def test_with_a_prior_the_rival_is_trained_first_and_stays_as_it_is(cache_dir, tmp_path):
    tiny = config.TINY
    options = dataclasses.replace(
        tiny,
        model=dataclasses.replace(
            tiny.model, fusion="question_prior", train_image_encoder=False, dropout=0.5
        ),
        data=dataclasses.replace(tiny.data, cache_dir=cache_dir, max_images=32),
        train=dataclasses.replace(
            tiny.train, weight_decay=0.1, learning_rate=0.1, question_learning_rate=0.01
        ),
    )
    run = train.train(options, tmp_path / "run")
    rival, model = run.load_model("question_only.keras"), run.load_model()
    head = trained_part(model)
    prior = head.get_layer(QUESTION_ONLY)
    for new, old in zip(prior.get_weights(), rival.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    assert float(head.get_layer("evidence").prior_scale) != 1.0
    # What the evidence is standardised by are the features of the training images.
    records = data.load_split(options.data, "train")
    pixels = [images.decode_and_resize(row["image"], 16) for row in records]
    seen = pooled_encoder(model)(np.stack(pixels)).numpy()
    np.testing.assert_allclose(head.get_layer("evidence").mean, seen.mean(0), rtol=1e-2, atol=1e-3)

    answered = list(evaluate.answer_questions(run, options, "validation"))
    answerer = load_inference(run.path)
    for record in data.load_split(options.data, "validation"):
        questions = [text.decode() for text in record["question"].numpy()]
        answers = answerer([record["image"].numpy()] * len(questions), questions)["answer"].numpy()
        by_question = {
            row.question: row.choices["model"]
            for row in answered
            if row.image_id == record["image_id"].numpy().decode()
        }
        assert by_question == dict(
            zip(questions, (answer.decode() for answer in answers), strict=True)
        )
    for format in ("onnx", "litert"):  # each compares its answers with those of the SavedModel
        export.export(run.path, format=format)


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("daquar", None, "photos"),
        ("vqa_v2", None, "photos"),
        ("easy_vqa", None, "small"),
        (None, None, "small"),
        ("folder", (240, 200), "photos"),
        ("folder", (400, 199), "small"),
    ],
)
def test_the_options_of_photographs_are_taken_for_photographs(tmp_path, name, size, expected):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "broken.png").write_bytes(b"no image")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "inside" / "bomb.png")
    if size:
        for number in range(3):
            path = tmp_path / "inside" / f"{number}.JPG"
            path.write_bytes(encoded_image(number, size, "JPEG"))
    assert train.choose_preset(name, tmp_path if size else None) == expected


def test_data_with_a_single_answer_is_refused(daquar, cache_dir):
    path = daquar / "qa.894.raw.train.txt"
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join(line if place % 2 == 0 else "yes" for place, line in enumerate(lines))
    )
    options = config.DataConfig(name="daquar", root=daquar, cache_dir=cache_dir)
    with pytest.raises(UserError, match=r"two distinct training answers .* got \['yes'\]"):
        data.take_survey(data.load_split(options, "train"), options, questions_per_image=8)


@pytest.mark.parametrize(
    "change",
    [
        {"dropout": 1.0},
        {"hops": 0},
        {"word_vectors": "glove", "word_dim": 64},
        {"fusion": "question_prior"},
    ],
)
def test_impossible_model_options_are_refused(change):
    with pytest.raises(ValueError, match=r"model\."):
        dataclasses.replace(config.SMALL.model, **change)
