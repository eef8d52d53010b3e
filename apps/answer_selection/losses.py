"""The loss over the candidates of a question."""

from keras import ops

from common.training.losses import WeightedMean


class PointwiseLoss(WeightedMean):
    """Cross-entropy of each candidate by itself, averaged over a question, then over the batch.

    Shapes: label int32 (batch, candidates), 1 = right, 0 = wrong, -1 = padding; score float
    (batch, candidates), log-odds that the candidate is right; sample_weight float32 (batch,).
    """

    def call(self, y_true, y_pred):
        """One value a question, (batch,)."""
        real = ops.cast(y_true >= 0, y_pred.dtype)
        target = ops.cast(y_true > 0, y_pred.dtype)
        # log(1 + exp(score)) - target * score, without overflow
        each = ops.softplus(y_pred) - target * y_pred
        return ops.sum(each * real, axis=-1) / ops.maximum(ops.sum(real, axis=-1), 1)
