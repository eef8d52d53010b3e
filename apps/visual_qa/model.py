"""The training graph, its question-only rival, and the part that answers raw inputs.

image uint8 (batch, size, size, 3), token_ids int32 and token_mask bool (batch, questions, time)
    -> logits (batch, questions, answers), attention (batch, questions, hops, rows, columns)
"""

import functools
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from apps.visual_qa.config import APP, Config, ModelConfig
from common.export import saved_model
from common.inputs import images, text
from common.inputs.text import Vocabulary
from common.layers import attention, embeddings, recurrent, vision
from common.runs import directory
from common.runs.directory import RunDirectory

NUM_TOP = 5


def build_model(
    config: ModelConfig,
    *,
    num_words: int,
    num_answers: int,
    word_vectors: np.ndarray | None = None,
) -> keras.Model:
    """The whole network (see the module), with outputs named "logits" and "attention".

    Args:
        config: sizes and choices.
        num_words: of the vocabulary, special tokens included.
        num_answers: to choose from.
        word_vectors: float (num_words, word_dim), where the embedding starts; random if None.
    """
    image = keras.Input((config.image_size, config.image_size, 3), dtype="uint8", name="image")
    grid = vision.make_image_encoder(config)(image)  # (batch, rows, columns, channels)
    _, rows, columns, channels = grid.shape
    regions = keras.layers.Reshape((rows * columns, channels), name="regions")(grid)
    words, question = _read_question(config, num_words, word_vectors)

    fuse = _stacked_attention if config.fusion == "stacked_attention" else _elementwise
    fused, weights = fuse(regions, question, config)  # weights (batch, questions, hops, regions)

    hops = weights.shape[2]
    shape = (-1, hops, rows, columns)  # -1: the questions
    looks = keras.layers.Reshape(shape, dtype="float32", name="attention")(weights)
    logits = _classify(fused, config, num_answers)
    return keras.Model({"image": image, **words}, {"logits": logits, "attention": looks})


def build_question_only(
    config: ModelConfig,
    *,
    num_words: int,
    num_answers: int,
    word_vectors: np.ndarray | None = None,
) -> keras.Model:
    """The blind rival: the same question encoder and classifier, no image; output "logits"."""
    words, question = _read_question(config, num_words, word_vectors)
    return keras.Model(words, {"logits": _classify(question, config, num_answers)})


def _read_question(config: ModelConfig, num_words: int, word_vectors):
    """The inputs, and the last state of an LSTM over each question: (batch, questions, units)."""
    words = {
        "token_ids": keras.Input((None, None), dtype="int32", name="token_ids"),
        "token_mask": keras.Input((None, None), dtype="bool", name="token_mask"),
    }
    embed = embeddings.make_embedding(num_words, config.word_dim, vectors=word_vectors)
    encode = recurrent.make_encoder(
        config.word_dim,
        config.question_units,
        num_layers=config.question_layers,
        dropout=config.dropout,
        name="question_lstm",
    )
    embedded = embed(words["token_ids"])  # (batch, questions, time, word_dim)
    return words, recurrent.OverGroups(encode, name="questions")(embedded, words["token_mask"])


def _stacked_attention(regions, question, config: ModelConfig):
    """Yang et al. 2016, equations 8 to 17: each hop adds what it saw to the question."""
    regions = _project(regions, config, "project_regions")
    refined, weights = question, []
    for hop in range(1, config.hops + 1):
        attend = attention.AdditiveAttention(
            config.attention_units, dropout=config.dropout, name=f"hop_{hop}"
        )
        context, hop_weights = attend(refined, regions)  # (batch, questions, units), (..., regions)
        refined = refined + context
        weights.append(hop_weights)
    # Paper: the classifier takes `refined` alone. A sum cannot tell whether what was asked for and
    # what was seen agree ("is there a red shape?"); their product can (docs/decisions/0002). It is
    # a product of small numbers: without the normalisation its gradient is lost beside the sum's.
    query = _project(question, config, "project_question")
    evidence = _project(refined - question, config, "project_evidence")
    agreement = keras.layers.LayerNormalization(name="agreement")(query * evidence)
    return keras.ops.concatenate([refined, agreement], axis=-1), keras.ops.stack(weights, axis=2)


def _elementwise(regions, question, config: ModelConfig):
    """Antol et al. 2015: "deeper LSTM Q + norm I"; every region weighs the same."""
    image = keras.layers.UnitNormalization()(keras.ops.mean(regions, axis=1))
    image = _project(image, config, "project_regions")
    question = _project(question, config, "project_question")
    num_regions = regions.shape[1]
    uniform = keras.ops.ones_like(question[:, :, :1, None]) / num_regions
    weights = keras.ops.repeat(uniform, num_regions, axis=-1)  # one hop
    return question * keras.ops.expand_dims(image, 1), weights


def _project(features, config: ModelConfig, name: str):
    return keras.layers.Dense(config.question_units, activation="tanh", name=name)(features)


def _classify(fused, config: ModelConfig, num_answers: int):
    # Paper: one linear layer. The hidden layer lets "is there not ..." turn an answer around.
    hidden = keras.layers.Dense(config.question_units, activation="relu", name="hidden")(fused)
    hidden = keras.layers.Dropout(config.dropout)(hidden)
    return keras.layers.Dense(num_answers, dtype="float32", name="logits")(hidden)


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


def load_networks(run: RunDirectory) -> tuple[keras.Model, keras.Model]:
    """The best model of a run, and the best question-only network.

    Raises:
        UserError: one is missing or damaged.
    """
    return run.load_model(), run.load_model("question_only.keras")


def load_inference(run_dir: Path) -> Answerer:
    """The part of a run that takes raw inputs: for `predict` and `export`.

    Raises:
        UserError: no run of this app, or its model is missing or damaged.
    """
    run, config = directory.open_run(run_dir, app=APP, config_type=Config)
    model = run.load_model()
    num_words, num_answers = model.get_layer("embedding").input_dim, model.get_layer("logits").units
    return Answerer(
        model,
        Vocabulary.load(run.path / "vocab_words.txt", size=num_words),
        Vocabulary.load(run.path / "vocab_answers.txt", size=num_answers),
        max_question_words=config.data.max_question_words,
    )
