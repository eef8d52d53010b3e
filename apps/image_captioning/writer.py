"""Captions from grids: what validation, `evaluate`, `predict` and the SavedModel share."""

import tensorflow as tf

from apps.image_captioning.decoder import Decoder
from common import decoding, text
from common.beam_search import beam_search
from common.text import Vocabulary


class Writer:
    """Writes the most probable captions by beam search.

    Args:
        decoder: of the network.
        words: its vocabulary.
        max_words: no caption is longer.
        length_penalty: GNMT's exponent.
    """

    def __init__(
        self, decoder: Decoder, words: Vocabulary, *, max_words: int, length_penalty: float
    ):
        self.decoder, self.length_penalty = decoder, length_penalty
        self.tokens = tf.constant(words.tokens)
        self.rules = {
            "start_id": text.START,
            "end_id": text.END,
            "pad_id": text.PAD,
            "forbidden_ids": (text.PAD, text.UNK, text.START),
            "min_steps": 1,
            "max_steps": max_words + 1,
        }

    def write(self, grid: tf.Tensor, *, beam: int) -> decoding.Decoded:
        """Grid (batch, rows, columns, channels) -> `beam` captions an image, best first."""
        step, states = self._start(grid)
        return beam_search(
            step, states, width=beam, length_penalty=self.length_penalty, **self.rules
        )

    def draw(self, grid: tf.Tensor, *, count: int, seed) -> decoding.Decoded:
        """Grid -> `count` captions an image, drawn with their probabilities; seed int (2,)."""
        step, states = self._start(grid)
        return decoding.sample(step, states, seed=seed, num_results=count, **self.rules)

    def draw_evenly(self, grid: tf.Tensor, *, count: int) -> decoding.Decoded:
        """Grid -> `count` captions an image that lie evenly in their distribution."""
        step, states = self._start(grid)
        return decoding.spread_sample(step, states, num_results=count, **self.rules)

    def _start(self, grid):
        memory, states = self.decoder.start(grid)
        return lambda token_ids, states: self.decoder.step(token_ids, states, memory), states

    def as_text(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Ids (..., time) -> strings (...), without the end."""
        return tf.strings.strip(tf.strings.reduce_join(self.as_words(token_ids), -1, separator=" "))

    def as_words(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Ids (..., time) -> strings (..., time), "" at the end and after it."""
        return tf.where(token_ids > text.END, tf.gather(self.tokens, token_ids), "")
