"""Recurrent encoders: embedded (batch, time, dim), mask (batch, time) -> sequence, last state."""

import keras

from common.fast_lstm import LSTM


def make_lstm_encoder(
    input_dim: int,
    units: int,
    *,
    num_layers: int = 1,
    dropout: float = 0.0,
    bidirectional: bool = False,
    name: str = "lstm_encoder",
) -> keras.Model:
    """A stack of LSTM layers (Gers et al. 2000, https://doi.org/10.1162/089976600300015015).

    Takes `[embedded (batch, time, input_dim), mask (batch, time) bool, True = real]` and returns
    `[encoded (batch, time, width), last (batch, width)]`; width is `units`, twice that when
    bidirectional. `encoded` is zero at padded steps; `last` is the state after the last real step
    (for the backward direction: after the first), zeros in a row without any.

    The mask may have holes; on a GPU only padding on the right gets the fast cuDNN kernel.

    Args:
        input_dim: size of the vectors that come in.
        units: size of the state, per direction.
        num_layers: layers on top of each other.
        dropout: share of each layer's input that is dropped in training, never of its state:
            recurrent dropout would rule the cuDNN kernel out.
    """
    embedded = keras.Input((None, input_dim), name="embedded")
    mask = keras.Input((None,), dtype="bool", name="mask")
    if num_layers < 1:
        raise ValueError(f"num_layers must be at least 1, got {num_layers}")
    encoded = last = embedded
    for layer in range(num_layers):
        encoded = keras.layers.Dropout(dropout, name=f"dropout_{layer}")(encoded)
        lstm = LSTM(units, return_sequences=True, return_state=True)
        if bidirectional:
            lstm = keras.layers.Bidirectional(lstm, name=f"lstm_{layer}")
            encoded, forward, _, backward, _ = lstm(encoded, mask=mask)
            last = keras.layers.Concatenate()([forward, backward])
        else:
            lstm.name = f"lstm_{layer}"
            encoded, last, _ = lstm(encoded, mask=mask)
    return keras.Model([embedded, mask], [encoded, last], name=name)


def kernel_in_use() -> str:
    """What trains the LSTM layers of this module here, for environment.json."""
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU"):
        return "cuDNN"
    from common import lstm_tiles

    return f"machine code, vectors of {lstm_tiles.LANES} floats"


@keras.saving.register_keras_serializable("cellstate")
class OverGroups(keras.layers.Wrapper):
    """Runs a sequence encoder over groups of sequences, e.g. all questions about an image.

    Shapes: values `(batch, group, time, dim)`, mask `(batch, group, time)` bool, True = real.
    Returns: the encoder's last state `(batch, group, width)`; zeros for a sequence of padding.

    Args:
        layer: from `make_lstm_encoder`; its weights are shared by all sequences.
    """

    def build(self, values_shape, mask_shape=None):
        """The encoder comes built."""
        self.built = True

    def call(self, values, mask, training=None):
        """See the class."""
        batch, group, time, dim = keras.ops.shape(values)
        flat_mask = keras.ops.reshape(mask, (batch * group, time))
        flat = keras.ops.reshape(values, (batch * group, time, dim))
        _, last = self.layer([flat, flat_mask], training=training)
        return keras.ops.reshape(last, (batch, group, last.shape[-1]))

    def compute_output_shape(self, values_shape, mask_shape=None):
        """See the class."""
        return (*values_shape[:2], self.layer.outputs[1].shape[-1])
