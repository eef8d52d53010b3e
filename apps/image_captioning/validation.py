"""Scores the captions that a model writes after each epoch, to keep the best epoch by them."""

from collections.abc import Callable

import keras
import tensorflow as tf

from apps.image_captioning import scoring
from apps.image_captioning.writer import Writer
from common.scoring import metrics

_MOST = 1000  # images


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

    def on_epoch_end(self, epoch, logs=None):
        """Writes and scores captions."""
        given, references = [], []
        for batch in self.batches:
            given += [one.decode() for one in self.write(self.grid_of(batch)).numpy()]
            references += [
                [one.decode() for one in row if one] for row in batch["captions"].numpy()
            ]
            if len(given) >= _MOST:
                break
        scores = scoring.score(given, references)
        logs.update({f"val_{name}": scores[name] for name in ("cider", "exact_match")})
        logs["val_largest_share"] = metrics.answer_collapse(given).share
