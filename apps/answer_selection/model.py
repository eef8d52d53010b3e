"""Answer selection: the training graph with its two ways to match, and the part that ranks.

question_ids int32 (batch, question_time), candidate_ids int32 (batch, candidates, candidate_time),
each with keys and a mask (features.py) -> score (batch, candidates), attention
(batch, candidates, candidate_time), alignment (batch, candidates, question_time, candidate_time),
unasked (batch, candidates, candidate_time), IDF of the words that the question lacks
"""

import functools
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from apps.answer_selection import agreement, features, matching, networks
from apps.answer_selection.config import ModelConfig
from apps.answer_selection.groups import ForEachCandidate, Grouped, Pairs
from apps.answer_selection.matching import Words
from common.export import saved_model
from common.inputs import text
from common.inputs.text import Vocabulary
from common.layers import embeddings

_QUESTION_AND_CANDIDATES = [
    tf.TensorSpec([], tf.string, name="question"),
    tf.TensorSpec([None], tf.string, name="candidates"),
]


class WordTables(NamedTuple):
    """A row for each word of the vocabulary, then for each bucket of unknown words."""

    idf: np.ndarray  # float32 (rows,), 0 to 1
    vectors: np.ndarray | None = None  # float32 (rows, word_dim); None: random


def build_model(config: ModelConfig, tables: WordTables) -> keras.Model:
    """The whole network, with the outputs that the module names."""
    inputs = {**_inputs("question", ()), **_inputs("candidate", (None,))}
    embed = embeddings.make_embedding(
        len(tables.idf),
        config.word_dim,
        vectors=tables.vectors,
        trainable=config.train_word_vectors,
    )
    look_up_idf = embeddings.make_embedding(
        len(tables.idf), 1, vectors=tables.idf[:, None], trainable=False, name="idf"
    )

    def read(name: str) -> Words:
        ids = inputs[f"{name}_ids"]
        rest = (inputs[f"{name}_keys"], inputs[f"{name}_mask"])
        return Words(embed(ids), look_up_idf(ids), *rest)

    asked, given = read("question"), read("candidate")
    candidate = Words(
        *(Pairs(name=f"pairs_{part}")(value, given.mask) for part, value in _named(given))
    )
    question = Words(
        *(
            ForEachCandidate(name=f"asked_{part}")(value, given.mask)
            for part, value in _named(asked)
        )
    )
    overlap = matching.compare_words(question, candidate)
    whole = matching.pair_features(question, candidate, overlap)
    told = overlap if config.match_features else None
    texts = networks.Texts(asked, question, candidate, given.mask, told)
    matched = networks.MATCHERS[config.matching](texts, config)
    score = _score(matched.pooled, whole if config.match_features else None, config)
    outputs = {
        "score": score,
        "attention": matched.attention,
        "alignment": matched.alignment,
        "unasked": matching.unasked(candidate, overlap),
    }
    grouped = {
        name: Grouped(name=name, dtype="float32")(value, given.mask)
        for name, value in outputs.items()
    }
    return keras.Model(inputs, grouped)


def _inputs(name: str, group: tuple) -> dict:
    shape = (*group, None)
    return {
        f"{name}_ids": keras.Input(shape, dtype="int32", name=f"{name}_ids"),
        f"{name}_keys": keras.Input(
            (*shape, features.NUM_KEYS), dtype="int32", name=f"{name}_keys"
        ),
        f"{name}_mask": keras.Input(shape, dtype="bool", name=f"{name}_mask"),
    }


def _named(words: Words):
    return words._asdict().items()


def _score(pooled, whole, config: ModelConfig):
    """Scores, float (pairs,); `whole` are the features of the pairs, None without."""
    pooled = keras.layers.Dropout(config.dropout, name="pooled_dropout")(pooled)
    last = []
    if whole is not None:
        # Never dropped, and with a straight way to the score: alone they are nearly BM25.
        pooled, last = ops.concatenate([pooled, whole], axis=-1), [whole]
    hidden = keras.layers.Dense(config.compare_units, activation="relu", name="think")(pooled)
    hidden = keras.layers.Dropout(config.dropout, name="think_dropout")(hidden)
    last = ops.concatenate([hidden, *last], axis=-1) if last else hidden
    return keras.layers.Dense(1, dtype="float32", name="scores")(last)[:, 0]


class Ranker(tf.Module):
    """Raw strings to scores: what `predict` calls and `export` writes, so both give the same.

    Called with question and candidate, string (batch,) each, it gives score float32 (batch,) and
    attention float32 (batch, candidate_time), summing to 1 over the words of the candidate.
    `rank` alone, which sees all candidates of a question, adds to the scores how far these agree.

    Raises:
        tf.errors.InvalidArgumentError: names the rows without a word.
    """

    def __init__(
        self,
        model: keras.Model,
        words: Vocabulary,
        *,
        num_buckets: int,
        max_question_words: int,
        max_candidate_words: int,
        agreement_weight: float = 0.0,
    ):
        super().__init__()
        self.weights = saved_model.weights_of(model)
        inputs = {name: tf.TensorSpec(one.shape, one.dtype) for name, one in model.input.items()}
        # One graph, which every function below calls: traced and exported once.
        self.network = tf.function(
            functools.partial(model, training=False), input_signature=[inputs], autograph=False
        )
        self.num_buckets = num_buckets
        self.max_words = {"question": max_question_words, "candidate": max_candidate_words}
        self.table = words.make_table(unknown=-1)
        self.agreement_weight = agreement_weight

    @tf.function(
        autograph=False,  # no Python branches to convert: traced in two thirds of the time
        input_signature=[
            tf.TensorSpec([None], tf.string, name="question"),
            tf.TensorSpec([None], tf.string, name="candidate"),
        ],
    )
    def __call__(self, question: tf.Tensor, candidate: tf.Tensor) -> dict[str, tf.Tensor]:
        """See the class."""
        given = self._encode(candidate, "candidate")
        given = {name: value[:, None] for name, value in given.items()}  # one for each question
        outputs = self.network({**self._encode(question, "question"), **given})
        return {"score": outputs["score"][:, 0], "attention": outputs["attention"][:, 0]}

    @tf.function(
        autograph=False,
        input_signature=_QUESTION_AND_CANDIDATES,
    )
    def rank(self, question: tf.Tensor, candidates: tf.Tensor) -> dict[str, tf.Tensor]:
        """One question, string (), with its candidates, string (candidates,), all read at once.

        Gives scores float32 (candidates,) and order int32 (candidates,): places, best first.
        """
        scores = self.agree(**self.read(question, candidates))
        return {
            "order": tf.argsort(scores, direction="DESCENDING", stable=True),
            "scores": scores,
        }

    @tf.function(
        autograph=False,
        input_signature=_QUESTION_AND_CANDIDATES,
    )
    def read(self, question: tf.Tensor, candidates: tf.Tensor) -> dict[str, tf.Tensor]:
        """Some candidates of a question, each by itself: what `agree` takes of all of them."""
        asked = self._encode(question[None], "question")
        given = self._encode(candidates, "candidate")
        given = {name: value[None] for name, value in given.items()}
        outputs = self.network({**asked, **given})
        return {
            "scores": outputs["score"][0],
            "ids": given["candidate_ids"][0],
            "unasked": outputs["unasked"][0],
        }

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="scores"),
            tf.TensorSpec([None, None], tf.int32, name="ids"),
            tf.TensorSpec([None, None], tf.float32, name="unasked"),
        ],
    )
    def agree(self, scores: tf.Tensor, ids: tf.Tensor, unasked: tf.Tensor) -> tf.Tensor:
        """Scores of all candidates of a question, float32 (candidates,); see agreement.py."""
        if not self.agreement_weight:
            return scores
        return agreement.agree(scores, ids, unasked, self.agreement_weight)

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([], tf.string, name="question"),
            tf.TensorSpec([], tf.string, name="candidate"),
        ],
    )
    def explain(self, question: tf.Tensor, candidate: tf.Tensor) -> dict[str, tf.Tensor]:
        """Attention (candidate_time,) and alignment (question_time, candidate_time), float32."""
        asked = self._encode(question[None], "question")
        given = self._encode(candidate[None], "candidate")
        given = {name: value[None] for name, value in given.items()}
        outputs = self.network({**asked, **given})
        return {name: outputs[name][0, 0] for name in ("attention", "alignment")}

    def _encode(self, strings: tf.Tensor, name: str) -> dict[str, tf.Tensor]:
        found = features.encode(
            strings, self.table, num_buckets=self.num_buckets, max_words=self.max_words[name]
        )
        found["mask"] = text.assert_words(found["mask"], name)
        return {f"{name}_{part}": value for part, value in found.items()}
