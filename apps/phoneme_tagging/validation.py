"""Scores the phones that a network tells after each epoch, to keep the best epoch by them."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from apps.phoneme_tagging import scoring


class PhoneAccuracy(keras.callbacks.Callback):
    """Puts val_phone_accuracy, 1 - the phone error rate of the decoded strings, into the logs.

    It falls below 0 where more phones are wrong or too many than were spoken. Stands before the
    callbacks that read the logs.

    Args:
        network: in training.
        decode: logits and mask -> ids (batch, frames), as in prediction.
        phones: names of the classes.
        batches: of the validation part.
    """

    def __init__(
        self,
        network: keras.Model,
        decode: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
        phones: Sequence[str],
        batches: tf.data.Dataset,
    ):
        super().__init__()
        self.batches, self.names = batches, np.asarray(phones)

        @tf.function(reduce_retracing=True)
        def tag(features, mask):
            inputs = {"features": features, "frame_mask": mask}
            logits = network(inputs, training=False)["logits"]
            return tf.argmax(logits, axis=-1), decode(logits, mask)

        self.tag = tag

    def on_epoch_end(self, epoch, logs=None):
        """Decodes and scores."""
        rows = []
        for batch in self.batches:
            tagged = self.tag(batch["features"], batch["frame_mask"])
            rows += scoring.utterances(batch, *(self.names[ids.numpy()] for ids in tagged))
        logs["val_phone_accuracy"] = 1.0 - scoring.error_rate(rows)
