"""Adam that says how often it clipped its gradients."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("cellstate")
class ClippedAdam(keras.optimizers.Adam):
    """Keras' Adam; `num_clipped` counts the steps whose gradients it clipped.

    Pascanu et al. 2013, https://arxiv.org/abs/1211.5063. The limit is an option of Keras: either
    `global_clipnorm`, to which all gradients are scaled down together, or `clipvalue`, to which
    each number is cut. Without a limit nothing is clipped.
    """

    def build(self, variables):
        """Makes the counter beside Adam's own variables."""
        if not self.built:
            self.num_clipped = self.add_variable((), dtype="int32", name="num_clipped")
        super().build(variables)

    def apply(self, grads, trainable_variables=None):
        """Counts; Keras clips and updates."""
        if not self.built:
            self.build(trainable_variables)
        present = [tf.convert_to_tensor(gradient) for gradient in grads if gradient is not None]
        clipped = tf.constant(False)
        if self.global_clipnorm is not None:
            clipped = tf.linalg.global_norm(present) > self.global_clipnorm
        elif self.clipvalue is not None:
            largest = [tf.reduce_max(tf.abs(gradient)) for gradient in present]
            clipped = tf.reduce_max(largest) > self.clipvalue
        self.num_clipped.assign_add(tf.cast(clipped, "int32"))
        super().apply(grads, trainable_variables)
