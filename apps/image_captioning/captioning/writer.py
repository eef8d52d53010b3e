"""Captions from grids: what validation, `evaluate`, `predict` and the SavedModel share."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from apps.image_captioning.captioning import scoring
from apps.image_captioning.captioning.decoder import Decoder
from common.decoding import sampling
from common.decoding.beam_search import beam_search
from common.inputs import text
from common.inputs.text import Vocabulary
from common.scoring import metrics

_MAX_VALIDATION = 1000  # images


class Writer:
    """Writes captions of at most `max_words` by beam search with GNMT's length penalty."""

    def __init__(
        self, decoder: Decoder, words: Vocabulary, *, max_words: int, length_penalty: float
    ):
        self.decoder, self.words, self.length_penalty = decoder, words, length_penalty
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

    def draw(self, grid: tf.Tensor, *, count: int) -> sampling.Decoded:
        """Grid -> `count` captions an image that lie evenly in their distribution."""
        step, states = self._start(grid)
        return sampling.spread_sample(step, states, num_results=count, **self.rules)

    def _start(self, grid):
        memory, states = self.decoder.start(grid)
        return lambda token_ids, states: self.decoder.step(token_ids, states, memory), states

    def as_text(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Ids (..., time) -> strings (...), without the end."""
        return tf.strings.strip(tf.strings.reduce_join(self.as_words(token_ids), -1, separator=" "))

    def as_words(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Ids (..., time) -> strings (..., time), "" at the end and after it."""
        return tf.where(token_ids > text.END, tf.gather(self.words.tokens, token_ids), "")


class ValidationScores(keras.callbacks.Callback):
    """Puts val_cider and val_exact_match of greedy captions into the logs of each epoch.

    val_largest_share is that of the most frequent caption: 1 for a model that does not look.
    Free-running, never teacher-forced; of the first 1,000 images in `batches`. Stands before the
    callbacks that read the logs.
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
