"""Captions from grids: what validation, `evaluate`, `predict` and the SavedModel share."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from apps.image_captioning.captioning import scoring
from apps.image_captioning.captioning.decoder import Decoder
from common.decoding import sampling
from common.decoding.beam_search import beam_search, normalised
from common.inputs import text
from common.inputs.text import Vocabulary
from common.scoring import metrics

_MAX_VALIDATION = 1000  # images


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
        self.ids = {word: number for number, word in enumerate(words.tokens)}
        self.rules = {
            "start_id": text.START,
            "end_id": text.END,
            "pad_id": text.PAD,
            "forbidden_ids": (text.PAD, text.UNK, text.START),
            "min_steps": 1,
            "max_steps": max_words + 1,
        }

    def write(self, grid: tf.Tensor, *, beam: int) -> sampling.Decoded:
        """Grid (batch, rows, columns, channels) -> `beam` captions an image, best first."""
        step, states = self._start(grid)
        return beam_search(
            step, states, width=beam, length_penalty=self.length_penalty, **self.rules
        )

    def read(self, grid: tf.Tensor, token_ids: tf.Tensor) -> sampling.Decoded:
        """Grid, captions int32 (batch, n, max_steps) -> these as if it had written them."""
        step, states = self._start(grid)
        decoded = sampling.follow(step, states, token_ids, **self.rules)
        scores = normalised(decoded.scores, decoded.lengths, self.length_penalty)
        return decoded._replace(scores=scores)

    def draw(self, grid: tf.Tensor, *, count: int) -> sampling.Decoded:
        """Grid -> `count` captions an image that lie evenly in their distribution."""
        step, states = self._start(grid)
        return sampling.spread_sample(step, states, num_results=count, **self.rules)

    def _start(self, grid):
        memory, states = self.decoder.start(grid)
        return lambda token_ids, states: self.decoder.step(token_ids, states, memory), states

    def as_ids(self, captions: Sequence[Sequence[str]], *, count: int) -> np.ndarray:
        """The first `count` captions of each image, their words between spaces, for `read`.

        Int32 (batch, count, max_steps); none stands where there are fewer or one is too long.
        """
        token_ids = np.full((len(captions), count, self.rules["max_steps"]), text.PAD, np.int32)
        token_ids[:, :, 0] = text.END
        for row, of_image in enumerate(captions):
            for place, caption in enumerate(of_image[:count]):
                ids = [self.ids.get(word, text.UNK) for word in caption.split()]
                if len(ids) < self.rules["max_steps"]:
                    token_ids[row, place, : len(ids) + 1] = [*ids, text.END]
        return token_ids

    def as_text(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Ids (..., time) -> strings (...), without the end."""
        return tf.strings.strip(tf.strings.reduce_join(self.as_words(token_ids), -1, separator=" "))

    def as_words(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Ids (..., time) -> strings (..., time), "" at the end and after it."""
        return tf.where(token_ids > text.END, tf.gather(self.tokens, token_ids), "")


class ValidationScores(keras.callbacks.Callback):
    """Puts val_cider and val_exact_match of greedy captions into the logs of each epoch.

    val_largest_share is that of the most frequent caption: 1 for a model that does not look.
    Free-running, never teacher-forced. Stands before the callbacks that read the logs.

    Args:
        writer: of the network in training.
        grid_of: batch -> grid.
        batches: of the validation split, with "captions"; the first 1,000 images count.
    """

    def __init__(
        self, writer: Writer, grid_of: Callable[[dict], tf.Tensor], batches: tf.data.Dataset
    ):
        super().__init__()
        self.batches, self.grid_of = batches, grid_of

        @tf.function
        def write(grid):
            return writer.as_text(writer.write(grid, beam=1).token_ids[:, 0])

        self.write = write

    def on_epoch_end(self, epoch, logs: Any = None):
        """Writes and scores captions."""
        generated, references = [], []
        for batch in self.batches:
            captions = self.write(self.grid_of(batch)).numpy()
            generated += [caption.decode() for caption in captions]
            references += scoring.references_of(batch)
            if len(generated) >= _MAX_VALIDATION:
                break
        scores = scoring.score(generated, references)
        logs.update({f"val_{name}": scores[name] for name in ("cider", "exact_match")})
        logs["val_largest_share"] = metrics.answer_collapse(generated).share
