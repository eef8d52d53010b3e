"""Encoder and decoder: in training they read a pair at once, in decoding write piece by piece.

source_ids (batch, source_time), target_ids (batch, target_time)
    -> logits (steps, pieces) of the real steps of the target alone, row by row
"""

import keras
import tensorflow as tf

from common.inputs import text
from common.layers.attention_decoder import Attention, AttentionDecoder
from common.layers.pooling import masked_mean
from common.layers.recurrent import make_encoder
from common.runs.registration import registered


@registered("apps.translation.model")
class EncoderDecoder(keras.layers.Layer):
    """A bidirectional LSTM with others on top reads; `AttentionDecoder` writes.

    The decoder begins with tanh(W m): m is the mean of the encoder's outputs, or without attention
    its last state, all that the decoder then knows of the source; the encoder then reads in one
    direction (Sutskever et al. 2014, https://arxiv.org/abs/1409.3215).

    Args:
        num_pieces: size of the vocabulary.
        piece_dim: of the vectors that source, target and output share (Press & Wolf 2017,
            https://arxiv.org/abs/1608.05859).
        units, dropout: see `config.ModelConfig`, as the others.
    """

    def __init__(
        self,
        num_pieces: int,
        *,
        piece_dim: int,
        units: int,
        encoder_layers: int,
        decoder_layers: int,
        attention: Attention,
        reverse_source: bool,
        dropout: float,
        **options,
    ):
        super().__init__(**options)
        self.arguments = {
            "num_pieces": num_pieces,
            "piece_dim": piece_dim,
            "units": units,
            "encoder_layers": encoder_layers,
            "decoder_layers": decoder_layers,
            "attention": attention,
            "reverse_source": reverse_source,
            "dropout": dropout,
        }
        self.embed = keras.layers.ReversibleEmbedding(
            num_pieces,
            piece_dim,
            embeddings_initializer=keras.initializers.RandomNormal(stddev=piece_dim**-0.5),
            name="embed",
        )
        stack = {"units": units, "dropout": dropout, "residual": True}
        if attention == "none":
            parts = [make_encoder(piece_dim, num_layers=encoder_layers, **stack, name="encoder")]
        else:
            parts = [make_encoder(piece_dim, bidirectional="concat", **stack, name="encoder")]
            if encoder_layers > 1:
                more = encoder_layers - 1
                parts.append(
                    make_encoder(2 * units, num_layers=more, **stack, name="upper_encoder")
                )
        self.encoder = parts
        self.first = keras.layers.Dense(2 * units * decoder_layers, activation="tanh", name="first")
        self.decoder = AttentionDecoder(
            units,
            output_dim=piece_dim,
            num_layers=decoder_layers,
            attention=attention,
            dropout=dropout,
            name="decoder",
        )

    def build(self, source_ids_shape, target_ids_shape=None):
        """Makes the weights."""
        memory_shape = self.encoder[-1].outputs[0].shape
        self.embed.build((None,))
        self.first.build((None, memory_shape[-1]))
        self.decoder.build((None, None, self.arguments["piece_dim"]), memory_shape)
        shape = (self.arguments["num_pieces"],)
        self.bias = self.add_weight(shape=shape, initializer="zeros", name="bias")

    def start(self, source_ids, training=False) -> tuple[dict, list]:
        """Source ids (batch, time) -> memory of the decoder, its first states (batch, units)."""
        mask = source_ids != text.PAD
        lengths = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)
        encoded = self.embedded(source_ids)
        if self.arguments["reverse_source"]:
            encoded = tf.reverse_sequence(encoded, lengths, seq_axis=1)
        last = encoded
        for part in self.encoder:
            # `identity` leaves Keras' own mask behind: masks are arguments here.
            encoded, last = part([tf.identity(encoded), mask], training=training)
        if self.arguments["reverse_source"]:
            encoded = tf.reverse_sequence(encoded, lengths, seq_axis=1)
        known = last if self.decoder.attend is None else masked_mean(encoded, mask)
        states = tf.split(self.first(known), 2 * self.arguments["decoder_layers"], axis=-1)
        return self.decoder.remember(encoded, mask), states

    def step(self, token_ids, states: list, remembered: dict) -> tuple:
        """One piece: ids (rows,), states -> log_probs (rows, pieces), states, attention.

        Attention is float32 (rows, source_time), each row summing to 1.
        """
        features, states, attention = self.decoder(
            self.embedded(token_ids[:, None]), states, remembered
        )
        log_probs = tf.nn.log_softmax(self.logits(features[:, 0]))
        return log_probs, states, attention[:, 0]

    def call(self, source_ids, target_ids, training=False):
        """See the module; `target_ids` is PAD from the end token on."""
        remembered, states = self.start(source_ids, training=training)
        real = target_ids != text.PAD
        embedded = self.embedded(target_ids)
        features, _, _ = self.decoder(embedded, states, remembered, mask=real, training=training)
        return self.logits(tf.boolean_mask(features, real))

    def compute_output_spec(self, source_ids, target_ids, training=False):
        """See the module."""
        return keras.KerasTensor((None, self.arguments["num_pieces"]), "float32")

    def embedded(self, ids):
        """Ids (..., time) -> vectors (..., time, piece_dim); the stacks above drop some of them."""
        return self.embed(ids) * self.arguments["piece_dim"] ** 0.5

    def logits(self, features):
        """Features (rows, piece_dim) -> float32 (rows, pieces)."""
        return tf.cast(self.embed(features, reverse=True) + self.bias, tf.float32)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), **self.arguments}
