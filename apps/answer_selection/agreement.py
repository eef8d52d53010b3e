"""What other candidates of a question say too: a right answer often stands in several texts.

A score rises by what the candidate is expected to share with the right one, if each other candidate
is that with the probability that the scores give it. Sentences are compared by the cosine of their
words that the question lacks, weighed by IDF. After the graph of similar sentences of Otterbacher,
Erkan & Radev 2005, https://aclanthology.org/H05-1115, in one step.
"""

import tensorflow as tf

MOST = 256  # the candidates that are compared, those with the best scores; bounds the memory
_SAME = 0.9999  # a cosine above is that of a copy, which says nothing new


def agree(scores: tf.Tensor, ids: tf.Tensor, unasked: tf.Tensor, weight: float) -> tf.Tensor:
    """Scores of all candidates of one question, with `weight` times their agreement.

    Args:
        scores: float32 (candidates,), log-odds that a candidate is right.
        ids: int32 (candidates, time), the words.
        unasked: float32 (candidates, time), IDF of the words that the question lacks, 0 elsewhere.
        weight: what an agreement of 1 adds.

    Returns:
        float32 (candidates,). Copies keep equal scores; a candidate without others keeps its own.
    """
    most = tf.minimum(tf.size(scores), MOST)
    best = tf.math.top_k(scores, most).indices
    similar = _cosines(tf.gather(ids, best), tf.gather(unasked, best))
    others = tf.cast(similar < _SAME, tf.float32) * (1 - tf.eye(most))
    right = tf.where(others > 0, tf.gather(scores, best), tf.float32.min)
    agreement = tf.reduce_sum(tf.nn.softmax(right) * others * similar, axis=1)
    return tf.tensor_scatter_nd_add(scores, best[:, None], weight * agreement)


def _cosines(ids: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Of bags of words, (rows, time) each -> (rows, rows); a word that comes again counts once."""
    words, places = tf.unique(tf.reshape(ids, [-1]))
    rows = tf.repeat(tf.range(tf.shape(ids)[0]), tf.shape(ids)[1])
    bags = tf.tensor_scatter_nd_max(
        tf.zeros([tf.shape(ids)[0], tf.size(words)]),
        tf.stack([rows, places], axis=1),
        tf.reshape(weights, [-1]),
    )
    bags = tf.math.l2_normalize(bags, axis=1)
    return tf.matmul(bags, bags, transpose_b=True)
