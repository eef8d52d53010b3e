"""Layers between groups, (batch, candidates, ...), and the row of their pairs, (pairs, ...).

Parts of common/ read (batch, time, dim); a batch here holds questions with their candidates. A pair
is a question with one of its real candidates: those of padding, which in `mask` bool
(batch, candidates, candidate_time) have no real word, cost nothing.
"""

import keras
import tensorflow as tf
from keras import ops


class _Plain(keras.layers.Layer):
    """A layer without weights that takes whatever shapes come."""

    def build(self, *shapes):
        """Nothing to make."""
        self.built = True

    def compute_mask(self, *args, **kwargs):
        """Masks are arguments here; none is handed on."""
        return None


@keras.saving.register_keras_serializable("cellstate")
class Pairs(_Plain):
    """Real candidates of all questions in one row: (batch, candidates, ...) -> (pairs, ...)."""

    def call(self, grouped, mask):
        """See the class."""
        return tf.gather_nd(grouped, _places(mask))

    def compute_output_spec(self, grouped, mask):
        """The number of pairs is not known before."""
        return keras.KerasTensor((None, *grouped.shape[2:]), grouped.dtype)


@keras.saving.register_keras_serializable("cellstate")
class ForEachCandidate(_Plain):
    """Repeats what belongs to a question for its candidates: (batch, ...) -> (pairs, ...)."""

    def call(self, values, mask):
        """See the class."""
        return tf.gather(values, _places(mask)[:, 0])

    def compute_output_spec(self, values, mask):
        """The number of pairs is not known before."""
        return keras.KerasTensor((None, *values.shape[1:]), values.dtype)


@keras.saving.register_keras_serializable("cellstate")
class Grouped(_Plain):
    """Back again: (pairs, ...) -> (batch, candidates, ...), zeros for candidates of padding."""

    def call(self, values, mask):
        """See the class."""
        shape = tf.concat([tf.shape(mask)[:2], tf.shape(values)[1:]], axis=0)
        found = tf.scatter_nd(_places(mask), values, shape)
        return ops.reshape(found, (*ops.shape(mask)[:2], *ops.shape(values)[1:]))

    def compute_output_spec(self, values, mask):
        """The number of pairs is not known before."""
        return keras.KerasTensor((*mask.shape[:2], *values.shape[1:]), values.dtype)


@keras.saving.register_keras_serializable("cellstate")
class AroundBorder(_Plain):
    """Cuts rows at a border step: (pairs, first + 1 + rest), (pairs, first) -> both parts."""

    def call(self, row, first):
        """See the class."""
        border = ops.shape(first)[1]
        return row[:, :border], row[:, border + 1 :]

    def compute_output_spec(self, row, first):
        """The second length is not known before."""
        return keras.KerasTensor(first.shape, row.dtype), keras.KerasTensor((None, None), row.dtype)


def _places(mask):
    """Row and candidate of each pair, int32 (pairs, 2)."""
    return tf.cast(tf.where(tf.reduce_any(mask, axis=-1)), tf.int32)
