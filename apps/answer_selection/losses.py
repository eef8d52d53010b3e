"""Losses over the candidates of a question: labels (batch, candidates), scores likewise.

A label is 1 for a right candidate, 0 for a wrong one, -1 for padding. Each loss gives one value a
question, whose mean over the batch is what is minimised.
"""

from keras import ops

from common.training.losses import WeightedMean

_LOW = -1e9


class RankingLoss(WeightedMean):
    """Averages a function of (labels, scores) -> (batch,) over the questions of weight above zero.

    Args:
        name: of a function in LOSSES.
        options: keywords for it.
    """

    def __init__(self, name: str, **options):
        super().__init__(name=name)
        self.options = options

    def call(self, y_true, y_pred):
        """One value a question."""
        return LOSSES[self.name](y_true, y_pred, **self.options)


def pointwise(labels, scores):
    """Cross-entropy of each candidate by itself, averaged over the candidates."""
    real = ops.cast(labels >= 0, scores.dtype)
    target = ops.cast(labels > 0, scores.dtype)
    # log(1 + exp(score)) - target * score, without overflow
    each = ops.softplus(scores) - target * scores
    return ops.sum(each * real, axis=-1) / ops.maximum(ops.sum(real, axis=-1), 1)


def pairwise(labels, scores, margin):
    """max(0, margin - right + wrong), averaged over all pairs of a right and a wrong candidate."""
    right = ops.expand_dims(ops.cast(labels > 0, scores.dtype), 2)
    wrong = ops.expand_dims(ops.cast(ops.equal(labels, 0), scores.dtype), 1)
    each = ops.relu(margin - ops.expand_dims(scores, 2) + ops.expand_dims(scores, 1))
    pairs = right * wrong  # (batch, candidates, candidates)
    return ops.sum(each * pairs, axis=(1, 2)) / ops.maximum(ops.sum(pairs, axis=(1, 2)), 1)


def listwise(labels, scores):
    """Cross-entropy between an equal share for each right candidate and the softmax of the scores.

    ListNet, Cao et al. 2007, https://doi.org/10.1145/1273496.1273513.
    """
    log_shares = ops.log_softmax(ops.where(labels >= 0, scores, _LOW), axis=-1)
    target = ops.cast(labels > 0, scores.dtype)
    target = target / ops.maximum(ops.sum(target, axis=-1, keepdims=True), 1)
    return -ops.sum(ops.where(target > 0, target * log_shares, 0.0), axis=-1)


LOSSES = {"pointwise": pointwise, "pairwise": pairwise, "listwise": listwise}
