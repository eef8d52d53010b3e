"""From records to batches: shapes, masks, weights and order."""

import numpy as np
import pytest
import tensorflow as tf

from apps.visual_qa import config, data
from common.inputs import pipeline, text
from common.inputs.text import SPECIALS, Vocabulary

from .conftest import encoded_image

OPTIONS = config.DataConfig(max_question_words=4)
VOCABULARIES = data.Vocabularies(
    Vocabulary((*SPECIALS, "is", "there", "a", "dog")), Vocabulary(("yes", "no"))
)


def make_records(*questions_by_image: list[tuple[str, str]]) -> tf.data.Dataset:
    def generate():
        for number, pairs in enumerate(questions_by_image):
            yield {
                "image": encoded_image(number),
                "image_id": str(number),
                "question": [question for question, _ in pairs],
                "answer": [answer for _, answer in pairs],
                "answers": [[answer] for _, answer in pairs],
                "question_type": ["kind"] * len(pairs),
            }

    string = tf.TensorSpec([], tf.string)
    strings = tf.TensorSpec([None], tf.string)
    return tf.data.Dataset.from_generator(
        generate,
        output_signature={
            "image": string,
            "image_id": string,
            "question": strings,
            "answer": strings,
            "answers": tf.TensorSpec([None, None], tf.string),
            "question_type": strings,
        },
    )


def batch_of(*questions_by_image, questions_per_image=8):
    examples = data.make_examples(
        make_records(*questions_by_image),
        VOCABULARIES,
        OPTIONS,
        image_size=8,
        questions_per_image=questions_per_image,
    )
    return next(iter(pipeline.evaluation_batches(examples, batch_size=8)))


def test_batches_have_free_batch_questions_and_time():
    examples = data.make_examples(
        make_records([("a", "yes")]), VOCABULARIES, OPTIONS, image_size=8, questions_per_image=8
    )
    spec = pipeline.evaluation_batches(examples, batch_size=4).element_spec
    assert spec["image"] == tf.TensorSpec([None, 8, 8, 3], tf.uint8)
    assert spec["token_ids"] == tf.TensorSpec([None, None, None], tf.int32)
    assert spec["token_mask"] == tf.TensorSpec([None, None, None], tf.bool)
    assert spec["answer_id"] == tf.TensorSpec([None, None], tf.int32)


def test_words_and_questions_are_padded_and_masked():
    batch = batch_of([("Is there a dog?", "yes"), ("dog", "no")], [("a cat", "yes")])
    assert batch["token_ids"].numpy().tolist() == [
        [[4, 5, 6, 7], [7, 0, 0, 0]],
        [[6, text.UNK, 0, 0], [0, 0, 0, 0]],
    ]
    assert (batch["token_mask"].numpy() == (batch["token_ids"].numpy() != 0)).all()
    assert batch["question_mask"].numpy().tolist() == [[True, True], [True, False]]


def test_long_questions_are_cut():
    batch = batch_of([("dog " * 10_000, "yes")])
    assert batch["token_ids"].shape == (1, 1, 4)


def test_padding_and_unseen_answers_weigh_nothing():
    batch = batch_of([("a", "yes"), ("a", "no")], [("a", "never seen")])
    _, target, weight = data.as_training(batch, inputs=["image"])
    assert weight.numpy().tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert target.numpy()[0].tolist() == [0, 1]
    assert target.numpy().min() >= 0  # a class all the same: Keras checks the range


def test_training_takes_only_the_inputs_named():
    batch = batch_of([("a", "yes")])
    features, _, _ = data.as_training(batch, inputs=["token_ids", "token_mask"])
    assert set(features) == {"token_ids", "token_mask"}


def test_many_questions_about_an_image_make_more_groups():
    questions = [("a", "yes"), ("dog", "no"), ("is", "yes"), ("there", "no"), ("a dog", "yes")]
    batch = batch_of(questions, questions_per_image=2)
    texts = batch["question"].numpy()[batch["question_mask"].numpy()]
    assert texts.tolist() == [question.encode() for question, _ in questions]
    assert batch["question_mask"].numpy().sum(axis=1).tolist() == [2, 2, 1]
    assert (batch["image"].numpy() == batch["image"].numpy()[:1]).all()
    assert batch["image_id"].numpy().tolist() == [b"0"] * 3


def test_the_survey_counts_training_words_and_answers_only_once():
    records = make_records([("Is there a dog?", "yes"), ("a dog", "no")], [("a", "yes")])
    survey = data.take_survey(records, OPTIONS, questions_per_image=8)
    assert survey.vocabularies.words.tokens == (*SPECIALS, "a", "dog", "is", "there")
    assert survey.vocabularies.answers.tokens == ("yes", "no")
    assert (survey.num_images, survey.num_questions) == (2, 3)
    assert survey.group_cells == [8, 1]


@pytest.mark.parametrize("questions_per_image", [2, 16])
def test_an_epoch_asks_every_question_once_in_the_promised_number_of_batches(
    cache_dir, questions_per_image
):
    options = config.DataConfig(cache_dir=cache_dir, max_images=60)
    train_data = data.make_training_data(
        options, image_size=8, batch_size=7, questions_per_image=questions_per_image
    )
    batches, num_batches = train_data.batches(seed=3), train_data.num_batches
    for epoch in range(2):
        counts = [
            batch["question_mask"].numpy().sum()
            for batch in batches.skip(epoch * num_batches).take(num_batches)
        ]
        assert np.sum(counts) == train_data.survey.num_questions


def test_images_that_do_not_fit_into_memory_are_streamed_in_the_same_order(cache_dir):
    orders = []
    for memory_mb in (0, 100):
        options = config.DataConfig(cache_dir=cache_dir, max_images=40, memory_mb=memory_mb)
        train_data = data.make_training_data(
            options, image_size=8, batch_size=7, questions_per_image=8
        )
        batches = train_data.batches(seed=3).take(2 * train_data.num_batches)
        orders.append([batch["question"].numpy().tolist() for batch in batches])
    assert orders[0] == orders[1]
