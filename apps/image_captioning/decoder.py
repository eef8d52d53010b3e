"""What writes captions about a grid: in training a sentence at once, in decoding word by word.

grid (batch, rows, columns, channels), token_ids (batch, captions, time)
    -> logits (steps, vocab) of the real steps alone, row by row

Rows are (batch, captions) in training and (batch, hypotheses) in decoding: what belongs to an image
is kept once for all of its rows.
"""

from typing import NamedTuple

import keras
import tensorflow as tf

from apps.image_captioning.scan import Product, product_with, scan
from common.decoding import sampling
from common.training import strategies


class Memory(NamedTuple):
    """What the decoder knows of each image, the same at all steps.

    Attributes:
        constants: by name; "regions" (batch, regions, region_dim) and what the decoder adds.
        kernels: the matrices (in, out) of a step, by name.
    """

    constants: dict[str, tf.Tensor]
    kernels: dict[str, tf.Tensor]


class Decoder(keras.layers.Layer):
    """What the decoders share: regions, words, the scan over a sentence, the output.

    Output layer ("deep output", Pascanu et al. 2014, https://arxiv.org/abs/1312.6026):
    p(word) = softmax(L_o tanh(E word_before + L [what the LSTM gives])), as in Xu et al. 2015.

    Args:
        num_words: size of the vocabulary.
        region_dim: to which the channels of the grid are projected.
        word_dim, units, attention_units: sizes.
        dropout: share of regions, word vectors and output features dropped in training.
        coverage: weight of sum over regions of (1 - sum over steps of attention)^2, the mean over
            captions of which is added to the loss (Xu et al. 2015, equation 14).
    """

    def __init__(
        self,
        num_words: int,
        *,
        region_dim: int,
        word_dim: int,
        units: int,
        attention_units: int,
        dropout: float = 0.0,
        coverage: float = 0.0,
        **options,
    ):
        super().__init__(**options)
        self.arguments = {
            "num_words": num_words,
            "region_dim": region_dim,
            "word_dim": word_dim,
            "units": units,
            "attention_units": attention_units,
            "dropout": dropout,
            "coverage": coverage,
        }
        self.region_dim, self.word_dim, self.units = region_dim, word_dim, units
        self.coverage = coverage
        self.project = keras.layers.Dense(region_dim, activation="relu", name="project")
        self.embed = keras.layers.ReversibleEmbedding(
            num_words, word_dim, tie_weights=False, name="embed"
        )
        self.deep = keras.layers.Dense(word_dim, name="deep")
        self.drop = {
            name: keras.layers.Dropout(dropout, name=f"drop_{name}") for name in ("words", "output")
        }
        # The same for all images of a batch: so many random numbers would take a tenth of the time.
        self.drop["regions"] = keras.layers.Dropout(
            dropout, noise_shape=(1, None, None), name="drop_regions"
        )

    def build(self, grid_shape, token_ids_shape=None, token_mask_shape=None):
        """Makes the weights."""
        self.project.build((None, None, grid_shape[-1]))
        self.embed.build((None,))
        self.deep.build((None, self.output_dim))
        # Papers: none. Without it, attention cannot tell the left one of two persons.
        places = (grid_shape[1] * grid_shape[2], self.region_dim)
        self.places = self.add_weight(shape=places, initializer="zeros", name="places")
        self.build_cells()

    def start(self, grid, training=False) -> tuple[Memory, list]:
        """Grid (batch, rows, columns, channels) -> memory, states (batch, units) before a word."""
        batch, rows, columns, channels = keras.ops.shape(grid)
        flat = tf.reshape(tf.cast(grid, self.compute_dtype), [batch, rows * columns, channels])
        regions = self.project(self.drop["regions"](flat, training=training)) + self.places
        return self.remember(regions)

    def step(self, token_ids, states: list, memory: Memory) -> tuple:
        """One word: ids (rows,), states -> log_probs (rows, vocab), states, attention.

        States are (rows, units). Attention is float32 (rows, regions), each row summing to 1.
        """
        embedded = self.embed(token_ids)
        states, seen, attention = self.advance(
            self.enter(embedded), states, memory.constants, product_with(memory.kernels)
        )
        logits = self.tell(embedded, seen)
        return tf.nn.log_softmax(tf.cast(logits, tf.float32)), states, attention

    def call(self, grid, token_ids, token_mask, training=False):
        """See the module; `token_mask` (batch, captions, time) is True where a word follows."""
        memory, states = self.start(grid, training=training)
        captions, time = tf.shape(token_ids)[1], tf.shape(token_ids)[2]
        token_ids, real = tf.reshape(token_ids, [-1, time]), tf.reshape(token_mask, [-1, time])
        states, _ = sampling.tile(states, captions)
        embedded = self.drop["words"](self.embed(token_ids), training=training)
        seen, attention = self.scan(embedded, states, memory)
        if training and self.coverage:
            self.add_loss(self.coverage * _uncovered(attention, real))
        embedded, seen = tf.boolean_mask(embedded, real), tf.boolean_mask(seen, real)
        return tf.cast(self.tell(embedded, seen, training=training), tf.float32)

    def compute_output_spec(self, grid, token_ids, token_mask, training=False):
        """See the module."""
        return keras.KerasTensor((None, self.arguments["num_words"]), "float32")

    def scan(self, embedded, states: list, memory: Memory) -> tuple:
        """All steps: (rows, time, word_dim) -> what the LSTM gives (rows, time, ..), attention."""
        entering = tf.transpose(self.enter(embedded), [1, 0, 2])
        found = scan(self.advance, entering, states, memory.constants, memory.kernels)
        seen, attention = (tf.transpose(one, [1, 0, 2]) for one in found)
        return seen, attention

    def tell(self, embedded, seen, training=False):
        """Word vectors before (..., word_dim), what the LSTM gives (..., ..) -> logits."""
        features = tf.tanh(self.deep(seen) + embedded)
        return self.embed(self.drop["output"](features, training=training), reverse=True)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), **self.arguments}

    @property
    def output_dim(self) -> int:
        """Size of what the LSTM gives to the output layer."""
        raise NotImplementedError

    def build_cells(self) -> None:
        """Makes the weights of the LSTMs and of attention."""
        raise NotImplementedError

    def remember(self, regions) -> tuple[Memory, list]:
        """(batch, regions, region_dim) -> memory, states (batch, units) before the first word."""
        raise NotImplementedError

    def enter(self, embedded):
        """The share of the words in the sums of the first LSTM, for all steps at once."""
        raise NotImplementedError

    def advance(self, entering, states: list, constants: dict, product: Product) -> tuple:
        """One step -> states, what the LSTMs give (rows, ..), attention (rows, regions)."""
        raise NotImplementedError


def _uncovered(attention, real):
    """Mean over captions of the squared shares by which regions were looked at too little.

    Over those of all replicas: of what a layer adds to the loss, Keras takes the mean of theirs.
    """
    looked = tf.reduce_sum(attention * tf.cast(real, tf.float32)[..., None], axis=1)
    by_caption = tf.reduce_sum(tf.square(1.0 - looked), axis=1)
    counted = tf.cast(real[:, 0], tf.float32)
    num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
    count = strategies.sum_over_replicas(tf.reduce_sum(counted)) / num_replicas
    return tf.math.divide_no_nan(tf.reduce_sum(by_caption * counted), count)
