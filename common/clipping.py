"""Gradient clipping that says how often it acted.

Pascanu et al. 2013, https://arxiv.org/abs/1211.5063.
"""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("cellstate")
class ClippedAdam(keras.optimizers.Adam):
    """Adam on clipped gradients; `num_clipped` counts the steps that were clipped.

    Args:
        learning_rate: number or schedule.
        clip_norm: gradients are scaled down together to this global norm; None leaves it.
        clip_value: before that, each number is cut to [-clip_value, clip_value]; None leaves it.
    """

    def __init__(
        self,
        learning_rate=1e-3,
        *,
        clip_norm: float | None = 5.0,
        clip_value: float | None = None,
        **options,
    ):
        super().__init__(learning_rate, **options)
        if not all(limit is None or limit > 0 for limit in (clip_norm, clip_value)):
            raise ValueError(f"clipping needs limits above 0, got {clip_norm} and {clip_value}")
        self.clip_norm, self.clip_value = clip_norm, clip_value

    def build(self, variables):
        """Makes the counter beside Adam's own variables."""
        if not self.built:
            self.num_clipped = self.add_variable((), dtype="int32", name="num_clipped")
        super().build(variables)

    def apply(self, grads, trainable_variables=None):
        """Clips, counts, and updates."""
        if not self.built:
            self.build(trainable_variables)
        grads = [None if g is None else tf.convert_to_tensor(g) for g in grads]
        clipped = tf.constant(False)
        present = [g for g in grads if g is not None]
        if self.clip_value is not None:
            largest = tf.reduce_max([tf.reduce_max(tf.abs(g)) for g in present])
            clipped |= largest > self.clip_value
            present = [tf.clip_by_value(g, -self.clip_value, self.clip_value) for g in present]
        if self.clip_norm is not None:
            norm = tf.linalg.global_norm(present)
            clipped |= norm > self.clip_norm
            present, _ = tf.clip_by_global_norm(present, self.clip_norm, use_norm=norm)
        self.num_clipped.assign_add(tf.cast(clipped, "int32"))
        kept = iter(present)
        grads = [None if g is None else next(kept) for g in grads]
        super().apply(grads, trainable_variables)

    def get_config(self) -> dict:
        """See the base class."""
        return {**super().get_config(), "clip_norm": self.clip_norm, "clip_value": self.clip_value}
