"""Facts about guesses without an image."""

import tensorflow as tf

from apps.visual_qa import priors


def record(*pairs: tuple[str, str]) -> dict:
    questions, answers = zip(*pairs, strict=True)
    return {"question": tf.constant(questions), "answer": tf.constant(answers)}


def test_guesses_come_from_training_and_are_scored_on_the_rest():
    training = [
        record(("color?", "red"), ("color?", "red"), ("color?", "blue")),
        record(("any?", "no"), ("any?", "no"), ("any?", "no"), ("any?", "yes")),
    ]
    held_back = [record(("color?", "red"), ("any?", "no"), ("any?", "yes"), ("new?", "no"))]
    assert priors.score(training, held_back) == {
        "most common answer": 0.5,  # no
        "most common answer to the question": 0.75,
    }
