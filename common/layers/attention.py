"""Attention: a query weighs the steps (or regions) of a memory. The weights are returned too."""

import keras

from common.runs.registration import registered

_MASKED = -1e9  # finite, so that a row without any real step gives zeros, not NaN


class _Attention(keras.layers.Layer):
    """Base of both kinds of attention: the masked softmax and the weighted sum."""

    def call(self, query, keys, mask=None, projected=None):
        """See the class."""
        projected = self.project(keys) if projected is None else projected
        scores = keras.ops.cast(self.scores(query, projected), "float32")  # (batch, queries, time)
        if mask is None:
            weights = keras.ops.softmax(scores, axis=-1)
        else:
            real = keras.ops.expand_dims(mask, axis=1)  # (batch, 1, time)
            weights = keras.ops.softmax(keras.ops.where(real, scores, _MASKED), axis=-1)
            weights = weights * keras.ops.cast(real, "float32")
        context = keras.ops.matmul(keras.ops.cast(weights, keys.dtype), keys)
        return context, weights

    def compute_output_spec(self, query, keys, mask=None, projected=None):
        """See the class; the weights are float32 under a mixed policy too."""
        context = keras.KerasTensor((*query.shape[:2], keys.shape[-1]), self.compute_dtype)
        return context, keras.KerasTensor((*query.shape[:2], keys.shape[1]), "float32")

    def compute_mask(self, *args, **kwargs):
        """Masks are arguments here; no Keras mask is passed on."""
        return None


@registered("common.layers")
class AdditiveAttention(_Attention):
    """Weighs each step of `keys` by how well it answers each `query`, through a small network.

    score[b, q, t] = v . tanh(W_q query[b, q] + W_k keys[b, t] + bias)
    Bahdanau et al. 2015, https://arxiv.org/abs/1409.0473

    Shapes: query `(batch, queries, query_dim)`, keys `(batch, time, key_dim)`, mask `(batch, time)`
    bool, True = real, or None when every step is.
    Returns: context `(batch, queries, key_dim)`, weights float32 `(batch, queries, time)`, each row
    summing to 1. A row without any real step gives zero weights and a zero context, never NaN.

    A decoder with the same keys at each step projects them once: `projected` is the result of
    `project(keys)`.

    Args:
        units: size of the hidden layer.
        dropout: share of the hidden layer dropped in training.
    """

    def __init__(self, units: int, *, dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.rate = dropout
        self.query_projection = keras.layers.Dense(units, use_bias=False, name="query")
        self.key_projection = keras.layers.Dense(units, name="keys")
        self.dropout = keras.layers.Dropout(dropout)
        self.score = keras.layers.Dense(1, use_bias=False, name="score")

    def build(self, query_shape, keys_shape, mask_shape=None):
        """Makes the three weight matrices."""
        self.query_projection.build(query_shape)
        self.key_projection.build(keys_shape)
        self.score.build((None, None, None, self.units))

    def project(self, keys):
        """W_k keys + bias: (batch, time, units)."""
        return self.key_projection(keys)

    def scores(self, query, projected):
        """Unnormalised scores (batch, queries, time)."""
        query = keras.ops.expand_dims(self.query_projection(query), axis=2)
        keys = keras.ops.expand_dims(projected, axis=1)
        hidden = self.dropout(keras.ops.tanh(query + keys))  # (batch, queries, time, units)
        return keras.ops.squeeze(self.score(hidden), axis=-1)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "units": self.units, "dropout": self.rate}


@registered("common.layers")
class MultiplicativeAttention(_Attention):
    """Weighs each step of `keys` by a bilinear form with each `query`.

    score[b, q, t] = query[b, q] . W keys[b, t]
    Luong et al. 2015 ("general"), https://arxiv.org/abs/1508.04025

    Shapes, mask, results and `projected` as in `AdditiveAttention`.

    Args:
        scaled: divides scores by the root of query_dim (Vaswani et al. 2017,
            https://arxiv.org/abs/1706.03762); of long queries they would else be too large at the
            start of a training to align.
    """

    def __init__(self, *, scaled: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.scaled = scaled

    def build(self, query_shape, keys_shape, mask_shape=None):
        """Makes the matrix W."""
        self.projection = keras.layers.Dense(query_shape[-1], use_bias=False, name="keys")
        self.projection.build(keys_shape)

    def project(self, keys):
        """W keys: (batch, time, query_dim)."""
        return self.projection(keys)

    def scores(self, query, projected):
        """Unnormalised scores (batch, queries, time)."""
        if self.scaled:
            query = query / query.shape[-1] ** 0.5
        return keras.ops.matmul(query, keras.ops.transpose(projected, (0, 2, 1)))

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "scaled": self.scaled}
