"""Visual question answering: the training graph, its blind rival, and the part that answers.

image uint8 (batch, size, size, 3), token_ids int32 and token_mask bool (batch, questions, time)
    -> logits (batch, questions, answers), attention (batch, questions, hops, rows, columns)
"""

import functools
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from apps.visual_qa.config import ModelConfig
from common.export import saved_model
from common.inputs import images, text
from common.inputs.text import Vocabulary
from common.layers import attention, embeddings, recurrent, vision

NUM_TOP = 5


class Sizes(NamedTuple):
    """What the model must know of the data."""

    num_words: int
    num_answers: int


def build_model(
    config: ModelConfig, sizes: Sizes, *, word_vectors: np.ndarray | None = None
) -> keras.Model:
    """The whole network (see the module), with outputs named "logits" and "attention"."""
    image = keras.Input((config.image_size, config.image_size, 3), dtype="uint8", name="image")
    words = _question_inputs()

    encode_image = vision.make_image_encoder(
        config.image_encoder,
        image_size=config.image_size,
        channels=config.cnn_channels,
        weights=config.image_weights,
    )
    encode_image.trainable = config.train_image_encoder
    grid = encode_image(image)  # (batch, rows, columns, channels)
    _, rows, columns, channels = grid.shape
    regions = keras.layers.Reshape((rows * columns, channels), name="regions")(grid)
    question = _encode_question(words, config, sizes, word_vectors)  # (batch, questions, units)

    fuse = _stacked_attention if config.fusion == "stacked_attention" else _elementwise
    fused, weights = fuse(regions, question, config)  # weights (batch, questions, hops, regions)

    hops = weights.shape[2]
    shape = (-1, hops, rows, columns)  # -1: the questions
    looks = keras.layers.Reshape(shape, dtype="float32", name="attention")(weights)
    logits = _classify(fused, config, sizes)
    return keras.Model({"image": image, **words}, {"logits": logits, "attention": looks})


def build_question_only(
    config: ModelConfig, sizes: Sizes, *, word_vectors: np.ndarray | None = None
) -> keras.Model:
    """The blind rival: the same question encoder and classifier, no image; output "logits"."""
    words = _question_inputs()
    question = _encode_question(words, config, sizes, word_vectors)
    return keras.Model(words, {"logits": _classify(question, config, sizes)})


def _question_inputs() -> dict:
    return {
        "token_ids": keras.Input((None, None), dtype="int32", name="token_ids"),
        "token_mask": keras.Input((None, None), dtype="bool", name="token_mask"),
    }


def _encode_question(words, config: ModelConfig, sizes: Sizes, word_vectors):
    embed = embeddings.make_embedding(sizes.num_words, config.word_dim, vectors=word_vectors)
    embedded = embed(words["token_ids"])  # (batch, questions, time, word_dim)
    encode = recurrent.make_encoder(
        config.word_dim,
        config.question_units,
        num_layers=config.question_layers,
        dropout=config.dropout,
        name="question_lstm",
    )
    return recurrent.OverGroups(encode, name="questions")(embedded, words["token_mask"])


def _stacked_attention(regions, question, config: ModelConfig):
    """Yang et al. 2016, equations 8 to 17: each hop adds what it saw to the question."""
    units = config.question_units
    regions = keras.layers.Dense(units, activation="tanh", name="see")(regions)
    refined, weights = question, []
    for hop in range(1, config.hops + 1):
        look = attention.AdditiveAttention(
            config.attention_units, dropout=config.dropout, name=f"hop_{hop}"
        )
        context, seen = look(refined, regions)  # (batch, questions, units), (..., regions)
        refined = refined + context
        weights.append(seen)
    # Paper: the classifier takes `refined` alone. A sum cannot tell whether what was asked for and
    # what was seen agree ("is there a red shape?"); their product can (docs/decisions/0002). It is
    # a product of small numbers: without the normalisation its gradient is lost beside the sum's.
    asked = keras.layers.Dense(units, activation="tanh", name="ask")(question)
    found = keras.layers.Dense(units, activation="tanh", name="found")(refined - question)
    agreed = keras.layers.LayerNormalization(name="agree")(asked * found)
    return keras.ops.concatenate([refined, agreed], axis=-1), keras.ops.stack(weights, axis=2)


def _elementwise(regions, question, config: ModelConfig):
    """Antol et al. 2015: "deeper LSTM Q + norm I"; every region weighs the same."""
    image = keras.layers.UnitNormalization()(keras.ops.mean(regions, axis=1))
    image = keras.layers.Dense(config.question_units, activation="tanh", name="see")(image)
    asked = keras.layers.Dense(config.question_units, activation="tanh", name="ask")(question)
    num_regions = regions.shape[1]
    uniform = keras.ops.ones_like(question[:, :, :1, None]) / num_regions
    weights = keras.ops.repeat(uniform, num_regions, axis=-1)  # one hop
    return asked * keras.ops.expand_dims(image, 1), weights


def _classify(fused, config: ModelConfig, sizes: Sizes):
    # Paper: one linear layer. The hidden layer lets "is there not ..." turn an answer around.
    hidden = keras.layers.Dense(config.question_units, activation="relu", name="think")(fused)
    hidden = keras.layers.Dropout(config.dropout)(hidden)
    return keras.layers.Dense(sizes.num_answers, dtype="float32", name="logits")(hidden)


class Answerer(tf.Module):
    """Raw inputs to answers: what `predict` calls and `export` writes, so both give the same.

    image string (batch,) encoded images of any sizes, question string (batch,) ->
        answer string (batch,), probability float32 (batch,), top_answers string (batch, 5) and
        top_probabilities float32 (batch, 5), best first, attention float32
        (batch, hops, rows, columns), each hop summing to 1. With fewer than five answers to choose
        from the rest are "" with probability 0.

    Raises:
        tf.errors.InvalidArgumentError: names the rows with unreadable images or without a word.
    """

    def __init__(
        self, model: keras.Model, words: Vocabulary, answers: Vocabulary, *, max_question_words: int
    ):
        super().__init__()
        self.weights = saved_model.weights_of(model)
        self.network = functools.partial(model, training=False)
        self.max_question_words = max_question_words
        self.image_size = model.input["image"].shape[1]
        self.word_table = words.make_table(unknown=text.UNK)
        self.answers = tf.constant([*answers.tokens, *[""] * NUM_TOP])  # fillers at the end

    @tf.function(
        autograph=False,  # no Python branches to convert: traced in two thirds of the time
        input_signature=[
            tf.TensorSpec([None], tf.string, name="image"),
            tf.TensorSpec([None], tf.string, name="question"),
        ],
    )
    def __call__(self, image: tf.Tensor, question: tf.Tensor) -> dict[str, tf.Tensor]:
        """See the class."""
        token_ids, token_mask = text.encode(
            question, self.word_table, max_words=self.max_question_words
        )
        token_mask = text.assert_words(token_mask, "question")
        batch = {
            "image": images.decode_batch(image, self.image_size),
            "token_ids": token_ids[:, None],  # one question for each image
            "token_mask": token_mask[:, None],
        }
        outputs = self.network(batch)
        probabilities = tf.nn.softmax(outputs["logits"][:, 0])
        padded = tf.pad(probabilities, [[0, 0], [0, NUM_TOP]])
        top_probabilities, top_ids = tf.math.top_k(padded, k=NUM_TOP)
        top_answers = tf.gather(self.answers, top_ids)
        return {
            "answer": top_answers[:, 0],
            "probability": top_probabilities[:, 0],
            "top_answers": top_answers,
            "top_probabilities": top_probabilities,
            "attention": outputs["attention"][:, 0],
        }
