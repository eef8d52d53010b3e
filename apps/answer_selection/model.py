"""Answer selection: the training graph, its word vectors, and the part that ranks.

question_ids int32 (batch, question_time), candidate_ids int32 (batch, candidates, candidate_time),
each with keys and a mask (ranking/tokenizer.py) -> score (batch, candidates), attention
(batch, candidates, candidate_time), unasked (batch, candidates, candidate_time), the IDF of the
words that the question lacks
"""

import functools
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from apps.answer_selection.config import APP, Config, ModelConfig
from apps.answer_selection.ranking import agreement, networks, tokenizer
from apps.answer_selection.ranking.networks import ForEachCandidate, Grouped, Pairs, Words
from common.export import saved_model
from common.inputs import text
from common.inputs.text import Vocabulary
from common.layers import embeddings
from common.runs.directory import RunDirectory
from common.runs.errors import UserError


class WordTables(NamedTuple):
    """A row for each word of the vocabulary, then for each bucket of unknown words."""

    idf: np.ndarray  # float32 (rows,), 0 to 1
    vectors: np.ndarray | None = None  # float32 (rows, word_dim); None: random


def words_with_vectors(config: ModelConfig) -> list[str]:
    """Words that have a vector, though perhaps no training text has them.

    None where vectors are trained: those that no training text moves would stay behind.
    """
    if config.train_word_vectors:
        return []
    return embeddings.frequent_words(path=config.word_vectors_file, most=config.more_words)


def load_tables(words: Vocabulary, idf: np.ndarray, config: ModelConfig) -> WordTables:
    """The tables of a vocabulary; `idf` has a row for each word and bucket.

    Raises:
        UserError: the file of vectors is missing or damaged, or not as wide as the options say.
    """
    if config.word_vectors == "random":
        return WordTables(idf)
    buckets = (f"<bucket_{number}>" for number in range(len(idf) - len(words)))
    every = [*words.tokens, *buckets]
    vectors = embeddings.load_word_vectors(every, path=config.word_vectors_file).matrix
    if vectors.shape[1] != config.word_dim:
        raise UserError(
            f"expected word vectors of {config.word_dim} numbers, as model.word_dim says, "
            f"{config.word_vectors_file} has {vectors.shape[1]}: set --model.word-dim"
        )
    return WordTables(idf, vectors)


def build_model(config: ModelConfig, tables: WordTables) -> keras.Model:
    """The whole network, with the outputs that the module names."""
    embed = embeddings.make_embedding(
        len(tables.idf),
        config.word_dim,
        vectors=tables.vectors,
        trainable=config.train_word_vectors,
    )
    look_up_idf = embeddings.make_embedding(
        len(tables.idf), 1, vectors=tables.idf[:, None], trainable=False, name="idf"
    )

    inputs = {}

    def read(name: str, *shape: None) -> Words:
        ids = keras.Input(shape, dtype="int32", name=f"{name}_ids")
        keys = keras.Input((*shape, tokenizer.NUM_KEYS), dtype="int32", name=f"{name}_keys")
        mask = keras.Input(shape, dtype="bool", name=f"{name}_mask")
        inputs.update({tensor.name: tensor for tensor in (ids, keys, mask)})
        return Words(embed(ids), look_up_idf(ids), keys, mask)

    questions, candidates = read("question", None), read("candidate", None, None)
    mask = candidates.mask
    candidate = Words(*(Pairs()(value, mask) for value in candidates))
    question = Words(*(ForEachCandidate()(value, mask) for value in questions))
    overlap = networks.compare_words(question, candidate)
    features = [networks.pair_features(question, candidate, overlap)] * config.match_features
    texts = networks.Texts(
        questions, question, candidate, mask, overlap if config.match_features else None
    )
    pooled, weights = networks.NETWORKS[config.matching](texts, config)
    outputs = {
        "score": _score(pooled, features, config),
        "attention": weights,
        "unasked": networks.unasked(candidate, overlap),
    }
    grouped = {
        name: Grouped(name=name, dtype="float32")(value, mask) for name, value in outputs.items()
    }
    return keras.Model(inputs, grouped)


def _score(pooled, features: list, config: ModelConfig):
    """Scores, float (pairs,); `features` of the pairs are a list of one tensor or of none."""
    pooled = keras.layers.Dropout(config.dropout, name="pooled_dropout")(pooled)
    # Features are never dropped, and have a straight way to the score: alone they are nearly BM25.
    joined = ops.concatenate([pooled, *features], axis=-1)
    hidden = keras.layers.Dense(config.compare_units, activation="relu", name="hidden")(joined)
    hidden = keras.layers.Dropout(config.dropout, name="hidden_dropout")(hidden)
    last = ops.concatenate([hidden, *features], axis=-1)
    return keras.layers.Dense(1, dtype="float32", name="scores")(last)[:, 0]


_ONE_QUESTION = [
    tf.TensorSpec([], tf.string, name="question"),
    tf.TensorSpec([None], tf.string, name="candidates"),
]


class Ranker(tf.Module):
    """Raw strings to scores: what `predict` calls and `export` writes, so both give the same.

    Called with question and candidate, string (batch,) each, it gives score float32 (batch,), the
    log-odds that the candidate answers, and attention float32 (batch, candidate_time), summing to 1
    over the words of the candidate. `rank` alone, which sees all candidates of a question, adds to
    the scores how far these agree.

    Raises:
        tf.errors.InvalidArgumentError: names the rows without a word.
    """

    def __init__(self, model: keras.Model, words: Vocabulary, config: Config):
        super().__init__()
        self.weights = saved_model.weights_of(model)
        inputs = {name: tf.TensorSpec(one.shape, one.dtype) for name, one in model.input.items()}
        # One graph, which every function below calls: traced and exported once.
        self.network = tf.function(
            functools.partial(model, training=False), input_signature=[inputs], autograph=False
        )
        self.num_buckets = config.data.hash_buckets
        self.max_words = {
            "question": config.data.max_question_words,
            "candidate": config.data.max_candidate_words,
        }
        self.table = words.make_table(unknown=-1)
        self.agreement_weight = config.model.agreement

    @tf.function(
        autograph=False,  # no Python branches to convert: traced in two thirds of the time
        input_signature=[
            tf.TensorSpec([None], tf.string, name="question"),
            tf.TensorSpec([None], tf.string, name="candidate"),
        ],
    )
    def __call__(self, question: tf.Tensor, candidate: tf.Tensor) -> dict[str, tf.Tensor]:
        """See the class."""
        candidates = self._encode(candidate, "candidate")
        candidates = {name: value[:, None] for name, value in candidates.items()}  # a group of one
        outputs = self.network({**self._encode(question, "question"), **candidates})
        return {name: outputs[name][:, 0] for name in ("score", "attention")}

    @tf.function(autograph=False, input_signature=_ONE_QUESTION)
    def rank(self, question: tf.Tensor, candidates: tf.Tensor) -> dict[str, tf.Tensor]:
        """One question, string (), with its candidates, string (candidates,), all read at once.

        Gives scores float32 (candidates,) and order int32 (candidates,): places, best first.
        """
        outputs = self.read(question, candidates)
        scores, ids, unasked = (outputs[name] for name in ("score", "ids", "unasked"))
        if self.agreement_weight:
            scores = agreement.agree(
                scores, ids, unasked, self.agreement_weight, ops=ops, make_bags=_make_bags
            )
        order = tf.argsort(scores, direction="DESCENDING", stable=True)
        return {"order": order, "scores": scores}

    @tf.function(autograph=False, input_signature=_ONE_QUESTION)
    def read(self, question: tf.Tensor, candidates: tf.Tensor) -> dict[str, tf.Tensor]:
        """Some candidates of a question, each by itself: a part for `agreement.final_scores`."""
        encoded = self._encode(candidates, "candidate")
        encoded = {name: value[None] for name, value in encoded.items()}
        outputs = self.network({**self._encode(question[None], "question"), **encoded})
        return {
            "score": outputs["score"][0],
            "ids": encoded["candidate_ids"][0],
            "unasked": outputs["unasked"][0],
        }

    def _encode(self, strings: tf.Tensor, name: str) -> dict[str, tf.Tensor]:
        encoded = tokenizer.encode(
            strings, self.table, num_buckets=self.num_buckets, max_words=self.max_words[name]
        )
        encoded["mask"] = text.assert_words(encoded["mask"], name)
        return {f"{name}_{part}": value for part, value in encoded.items()}


def _make_bags(ids: tf.Tensor, unasked: tf.Tensor) -> tf.Tensor:
    """As `agreement.make_bags`, in a graph."""
    words, columns = tf.unique(tf.reshape(ids, [-1]))
    rows = tf.repeat(tf.range(tf.shape(ids)[0]), tf.shape(ids)[1])
    return tf.tensor_scatter_nd_max(
        tf.zeros([tf.shape(ids)[0], tf.size(words)]),
        tf.stack([rows, columns], axis=1),
        tf.reshape(unasked, [-1]),
    )


def load_inference(run_dir: Path) -> Ranker:
    """The inference part of a run: raw strings in, scores out.

    Raises:
        UserError: no run of this app, or its model is missing or damaged.
    """
    run = RunDirectory.open(run_dir, app=APP)
    model, config = run.load_model(), run.read_config(Config)
    size = model.get_layer("embedding").input_dim - config.data.hash_buckets
    return Ranker(model, Vocabulary.load(run.path / "vocab_words.txt", size=size), config)
