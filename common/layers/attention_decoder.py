"""An LSTM decoder that looks at a memory: the whole target in training, step by step in decoding.

embedded (rows, time, dim), states, memory (batch, memory_time, memory_dim)
    -> features (rows, time, output_dim), states, attention (rows, time, memory_time)

Rows are a multiple of the batch, those of an example in succession: the hypotheses of a beam, or
one. What belongs to an example is kept once for all of its rows.
"""

from typing import Literal

import keras
import tensorflow as tf

from common.layers import attention as attentions
from common.lstm.layer import LSTM
from common.runs.registration import registered

Attention = Literal["multiplicative", "additive", "none"]


@registered("common.layers")
class AttentionDecoder(keras.layers.Layer):
    """A stack of LSTMs with global attention after the first (Luong et al. 2015, GNMT).

    below = LSTM_1(embedded);  context, attention = attend(below, memory)
    above_n = above_n-1 + LSTM_n([above_n-1, context]),  above_1 = below
    features = tanh(W [above, context])

    https://arxiv.org/abs/1508.04025 without input feeding, so that no step waits for the attention
    of the one before it: all layers read the whole target at once. With more layers the state of
    the bottom one looks, and the context goes to all others, whose connections are residual
    (Wu et al. 2016, https://arxiv.org/abs/1609.08144).

    Args:
        units: of each LSTM.
        output_dim: size of the features.
        num_layers: LSTMs.
        attention: multiplicative (scaled) or additive; with none the features are tanh(W above),
            and attention has no time.
        dropout: share of the inputs of LSTMs and of the features dropped in training.
    """

    def __init__(
        self,
        units: int,
        *,
        output_dim: int,
        num_layers: int = 1,
        attention: Attention = "multiplicative",
        dropout: float = 0.0,
        **options,
    ):
        super().__init__(**options)
        self.units, self.output_dim, self.num_layers = units, output_dim, num_layers
        self.attention, self.rate = attention, dropout
        self.layers = [
            LSTM(units, return_sequences=True, return_state=True, name=f"lstm_{number}")
            for number in range(num_layers)
        ]
        if attention == "additive":
            self.attend = attentions.AdditiveAttention(units, name="attention")
        elif attention == "multiplicative":
            self.attend = attentions.MultiplicativeAttention(scaled=True, name="attention")
        else:
            self.attend = None
        self.drop = keras.layers.Dropout(dropout)
        self.join = keras.layers.Dense(output_dim, activation="tanh", name="join")
        self.supports_masking = True  # masks are arguments here: Keras' own are not read

    def build(self, embedded_shape, memory_shape):
        """Makes the weights."""
        context_dim = memory_shape[-1] if self.attend else 0
        for number, layer in enumerate(self.layers):
            size = self.units + context_dim if number else embedded_shape[-1]
            layer.build((None, None, size))
        if self.attend:
            self.attend.build((None, None, self.units), memory_shape)
        self.join.build((None, None, self.units + context_dim))

    def remember(self, memory, memory_mask) -> dict:
        """What all steps need of a memory: tensors (batch, memory_time, ...) by name."""
        if self.attend is None:
            return {"mask": memory_mask[:, :0]}
        return {"memory": memory, "mask": memory_mask, "keys": self.attend.project(memory)}

    def call(self, embedded, states: list, remembered: dict, mask=None, training=False) -> tuple:
        """See the module; states are hidden and cell state of each layer, (rows, units).

        `mask` bool (rows, time) is True at real steps, padding on the right; others give zeros of
        the LSTMs.
        """
        bottom, *above = self.layers
        inputs = self.drop(embedded, training=training)
        outputs, *ends = bottom(inputs, mask=mask, initial_state=states[:2], training=training)
        context, attention = self.look(outputs, remembered)
        for number, layer in enumerate(above, start=1):
            below = outputs
            inputs = below if context is None else tf.concat([below, context], axis=-1)
            inputs = self.drop(inputs, training=training)
            pair = states[2 * number : 2 * number + 2]
            outputs, *end = layer(inputs, mask=mask, initial_state=pair, training=training)
            outputs += below
            ends += end
        if context is not None:
            outputs = tf.concat([outputs, context], axis=-1)
        return self.drop(self.join(outputs), training=training), ends, attention

    def look(self, query, remembered: dict) -> tuple:
        """Query (rows, time, units) -> context (rows, time, memory_dim), or None; attention."""
        rows, time = tf.unstack(tf.shape(query)[:2])
        memory_time = tf.shape(remembered["mask"])[1]
        if self.attend is None:
            return None, tf.zeros([rows, time, memory_time])
        memory, keys = remembered["memory"], remembered["keys"]
        batch = tf.shape(memory)[0]
        together = tf.reshape(query, [batch, rows // tf.maximum(batch, 1) * time, self.units])
        context, weights = self.attend(together, memory, mask=remembered["mask"], projected=keys)
        context = tf.reshape(context, [rows, time, memory.shape[-1]])
        return context, tf.reshape(weights, [rows, time, memory_time])

    def compute_mask(self, *args, **kwargs):
        """No Keras mask is passed on."""
        return None

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "output_dim": self.output_dim,
            "num_layers": self.num_layers,
            "attention": self.attention,
            "dropout": self.rate,
        }
