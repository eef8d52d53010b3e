"""The training graph, its question-only rival, and the part that answers raw inputs.

image uint8 (batch, size, size, 3), token_ids int32 and token_mask bool (batch, questions, time)
    -> logits (batch, questions, answers), attention (batch, questions, hops, rows, columns)
"""

import dataclasses
import functools
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from apps.visual_qa.config import APP, POOLED, Config, ModelConfig
from apps.visual_qa.fusion.evidence import ImageEvidence, shares_of_regions
from common.export import saved_model
from common.inputs import images, text
from common.inputs.text import Vocabulary
from common.layers import attention, embeddings, recurrent, vision
from common.runs import directory
from common.runs.directory import RunDirectory

NUM_TOP = 5
QUESTION_ONLY = "question_only"  # the blind rival, and the layer that is a copy of it
HEAD = "head"  # the layer behind the features of a frozen CNN, where they are computed beforehand


def build_model(
    config: ModelConfig,
    *,
    num_words: int,
    num_answers: int,
    word_vectors: np.ndarray | None = None,
) -> keras.Model:
    """The whole network (see the module), with outputs named "logits" and "attention".

    With the fusion `question_prior` it has a question-only network inside, a layer of the name
    QUESTION_ONLY, which is not trained: give it the weights of the trained one.

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
    if config.fusion == "question_prior":
        words, logits, weights = _question_prior(regions, config, num_words, num_answers)
    else:
        words, question = _read_question(config, num_words, word_vectors)
        fused, weights = _stacked_attention(regions, question, config)
        logits = _classify(fused, config, num_answers)
    shape = (-1, weights.shape[2], rows, columns)  # of (batch, questions, hops, regions)
    looks = keras.layers.Reshape(shape, dtype="float32", name="attention")(weights)
    return keras.Model({"image": image, **words}, {"logits": logits, "attention": looks})


def build_question_only(
    config: ModelConfig,
    *,
    num_words: int,
    num_answers: int,
    word_vectors: np.ndarray | None = None,
) -> keras.Model:
    """The blind rival: the same question encoder and classifier, no image.

    Outputs "logits", and "question" (batch, questions, units), the last state of its LSTM.
    """
    words, question = _read_question(config, num_words, word_vectors)
    outputs = {"logits": _classify(question, config, num_answers), "question": question}
    return keras.Model(words, outputs, name=QUESTION_ONLY)


def pooled_encoder(model: keras.Model) -> keras.Model:
    """The frozen part of a model with the fusion `question_prior`: image -> (batch, channels)."""
    return keras.Model(model.input["image"], model.get_layer(POOLED).output, name=POOLED)


def trained_part(model: keras.Model) -> keras.Model:
    """What `fit` trains: the model, or its part behind what `pooled_encoder` gives."""
    heads = [layer for layer in model.layers if layer.name == HEAD]
    return heads[0] if heads else model


def _word_inputs() -> dict[str, keras.KerasTensor]:
    return {
        "token_ids": keras.Input((None, None), dtype="int32", name="token_ids"),
        "token_mask": keras.Input((None, None), dtype="bool", name="token_mask"),
    }


def _read_question(config: ModelConfig, num_words: int, word_vectors):
    """The inputs, and the last state of an LSTM over each question: (batch, questions, units)."""
    words = _word_inputs()
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


def _question_prior(regions, config: ModelConfig, num_words: int, num_answers: int):
    """A trained question-only network, to whose logits the image adds what it knows better."""
    blind = build_question_only(  # frozen weights alone would not end its dropout
        dataclasses.replace(config, dropout=0.0), num_words=num_words, num_answers=num_answers
    )
    blind.trainable = False
    words = _word_inputs()
    prior = blind(words)
    features = keras.Input((regions.shape[-1],), name=POOLED)
    evidence = ImageEvidence(
        num_answers, units=config.attention_units, dropout=config.dropout, name="evidence"
    )
    logits, slope, base = evidence(features, prior["question"], prior["logits"])
    outputs = {"logits": logits, "slope": slope, "base": base}
    head = keras.Model({POOLED: features, **words}, outputs, name=HEAD)

    words = _word_inputs()
    pooled = keras.layers.GlobalAveragePooling1D(dtype="float32", name=POOLED)(regions)
    outputs = head({POOLED: pooled, **words})
    weights = shares_of_regions(regions, outputs["slope"], outputs["base"])
    return words, outputs["logits"], keras.ops.expand_dims(weights, 2)  # one hop


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


def load_vocabularies(run: RunDirectory, model: keras.Model) -> tuple[Vocabulary, Vocabulary]:
    """Words of the questions and answers to choose from, of the run whose `model` this is.

    Raises:
        UserError: a file is missing or damaged, or does not fit the model.
    """
    embedding = next(v for v in model.variables if v.path.endswith("embedding/embeddings"))
    words = Vocabulary.load(run.path / "vocab_words.txt", size=embedding.shape[0])
    num_answers = model.output["logits"].shape[-1]
    return words, Vocabulary.load(run.path / "vocab_answers.txt", size=num_answers)


def load_inference(run_dir: Path) -> Answerer:
    """The part of a run that takes raw inputs: for `predict` and `export`.

    Raises:
        UserError: no run of this app, or its model is missing or damaged.
    """
    run, config = directory.open_run(run_dir, app=APP, config_type=Config)
    model = run.load_model()
    limit = config.data.max_question_words
    return Answerer(model, *load_vocabularies(run, model), max_question_words=limit)
