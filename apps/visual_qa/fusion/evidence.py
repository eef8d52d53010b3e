"""What an image adds to the answers of a question-only network, and which regions add it."""

import keras
import numpy as np
from keras import ops

from common.runs.registration import registered

_LIMIT = 5.0  # standard deviations; ReLU features have long tails


@registered("apps.visual_qa.model")
class ImageEvidence(keras.layers.Layer):
    """Adds what the mean over an image's regions says for each answer to the logits of a question.

        v = features, standardised by those of training photos, at most 5 deviations
        a = relu(A v),  b = tanh(B question)
        logits = s prior + P (a * b) + O a                 P = O = 0 and s = 1 at first

    So the training begins with the answers of the question-only network, and the image has to
    improve on them; a network that reads both from the start learns the question first and gives
    the image little to explain (Ramakrishnan et al. 2018, https://arxiv.org/abs/1810.03649).

    Shapes: features `(batch, dim)`, question `(batch, questions, units)`, prior
    `(batch, questions, answers)`.
    Returns: logits float32 `(batch, questions, answers)`; slope `(batch, questions, dim)`, the
    derivative of the best answer's logit by the features; base `(batch, questions)`, slope times
    the features of an average training photo.

    Args:
        num_answers: to choose from.
        units: size of a and b.
        dropout: share of v, of a and of a * b dropped in training.
    """

    def __init__(self, num_answers: int, *, units: int, dropout: float, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.num_answers, self.units, self.rate = num_answers, units, dropout
        self.dropout = keras.layers.Dropout(dropout)
        self.read_image = keras.layers.Dense(units, activation="relu", name="image")
        self.read_question = keras.layers.Dense(units, activation="tanh", name="question")
        self.of_product, self.of_image = (
            keras.layers.Dense(num_answers, use_bias=False, kernel_initializer="zeros", name=name)
            for name in ("product", "alone")
        )

    def build(self, features_shape, question_shape, prior_shape):
        """Makes the weights."""
        size = features_shape[-1:]
        self.mean = self.add_weight(size, "zeros", trainable=False, name="mean")
        self.deviation = self.add_weight(size, "ones", trainable=False, name="deviation")
        self.read_image.build(features_shape)
        self.read_question.build(question_shape)
        for layer in (self.of_product, self.of_image):
            layer.build((None, self.units))
        self.prior_scale = self.add_weight((), "ones", name="prior_scale")

    def adapt(self, features: np.ndarray) -> None:
        """Standardises by these from now on: features (photos, dim) of the training photos."""
        self.mean.assign(features.mean(axis=0, dtype="float32"))
        self.deviation.assign(np.maximum(features.std(axis=0, dtype="float32"), 1e-3))

    def call(self, features, question, prior, training=False):
        """See the class."""
        standardized = (features - self.mean) / self.deviation
        inside = ops.clip(standardized, -_LIMIT, _LIMIT)
        image = self.read_image(self.dropout(inside, training=training))  # (batch, units)
        gate = self.read_question(question)  # (batch, questions, units)
        product = self.dropout(gate * image[:, None], training=training)
        alone = self.of_image(self.dropout(image, training=training))
        logits = self.prior_scale * prior + self.of_product(product) + alone[:, None]

        # Not argmax and take: of these ONNX has no translation.
        is_best = ops.cast(logits == ops.max(logits, axis=-1, keepdims=True), "float32")
        of_product, of_image = (
            ops.matmul(is_best, ops.transpose(layer.kernel))
            for layer in (self.of_product, self.of_image)
        )
        active = ops.cast(image > 0, "float32")[:, None]
        slope = ops.matmul(
            (of_product * gate + of_image) * active, ops.transpose(self.read_image.kernel)
        )
        free = ops.cast(ops.abs(standardized) < _LIMIT, "float32")
        slope = slope * (free / self.deviation)[:, None]
        return logits, slope, ops.matmul(slope, self.mean)

    def get_config(self) -> dict:
        """The arguments."""
        own = {"num_answers": self.num_answers, "units": self.units, "dropout": self.rate}
        config = {**super().get_config(), **own}
        del config["dtype"]
        return config


def shares_of_regions(regions, slope, base):
    """How much each region speaks for the answer: its part of the logit, beside an average photo's.

    The features are a mean over regions, so that to first order the logit is a sum over them.
    Parts below zero speak against the answer and count as none.

    Shapes: regions `(batch, regions, dim)`, slope `(batch, questions, dim)`, base
    `(batch, questions)` -> `(batch, questions, regions)`, each row summing to 1.
    """
    parts = ops.matmul(slope, ops.transpose(ops.cast(regions, "float32"), (0, 2, 1)))
    parts = ops.relu(parts - ops.expand_dims(base, -1)) + 1e-9  # even where none speaks for it
    return parts / ops.sum(parts, axis=-1, keepdims=True)
