"""Which candidates and which questions are taken, as functions of seed, epoch and question id."""

import tensorflow as tf


def draw(example: dict, *, seed: int, epoch: tf.Tensor, most: int) -> dict[str, tf.Tensor]:
    """A question with at most `most` of its candidates, a function of (seed, epoch, question).

    Right ones up to half of them (or more, where there are not enough wrong ones), then wrong ones.
    """
    own = tf.strings.to_hash_bucket_fast(example["question_id"], 2**31)
    # One draw gives the order of both kinds.
    chance = tf.random.stateless_uniform(
        tf.shape(example["label"]), [own + seed, tf.cast(epoch, tf.int64)]
    )
    order = tf.argsort(chance)
    is_right = tf.gather(example["label"], order) > 0
    right, wrong = tf.boolean_mask(order, is_right), tf.boolean_mask(order, ~is_right)
    num_right = tf.maximum(most // 2, most - tf.size(wrong))
    right = right[:num_right]
    chosen = tf.concat([right, wrong[: most - tf.size(right)]], axis=0)
    return {
        name: value if name.startswith("question_") else tf.gather(value, chosen)
        for name, value in example.items()
    }
