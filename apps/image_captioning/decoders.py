"""The LSTMs of two papers that write captions; what they share is in decoder.py."""

import keras
import tensorflow as tf

from apps.image_captioning.decoder import Decoder, Memory
from apps.image_captioning.scan import Product
from common.layers.cells import LSTMCell
from common.lstm.layer import LSTM


def _look(query, constants: dict) -> tuple:
    """Additive attention: rows of several to an image ask its regions.

    score[row, region] = v . tanh(query[row] + key[region])    https://arxiv.org/abs/1409.0473

    Query (rows, attention_units) -> context (rows, region_dim), weights (rows, regions).
    """
    regions, keys = constants["regions"], constants["keys"]
    rows = tf.shape(query)[0]
    batch, places = tf.unstack(tf.shape(regions)[:2])
    count = rows // tf.maximum(batch, 1)
    query = tf.reshape(query, [batch, count, 1, query.shape[-1]])
    # (batch, rows of an image, regions, attention_units)
    energy = tf.tanh(tf.expand_dims(keys, 1) + query)
    # A product of two matrices: of four axes with two, TensorFlow 2.21 corrupts memory here.
    scores = tf.matmul(tf.reshape(energy, [-1, energy.shape[-1]]), constants["score"])
    weights = tf.nn.softmax(tf.reshape(scores, [batch, count, places]))
    context = tf.matmul(weights, regions)
    return tf.reshape(context, [rows, regions.shape[-1]]), tf.reshape(weights, [rows, places])


def _attention(units: int) -> tuple:
    """The layers of additive attention: keys, queries, scores."""
    dense = keras.layers.Dense
    return (
        dense(units, name="key"),
        dense(units, use_bias=False, name="query"),
        dense(1, use_bias=False, name="score"),
    )


def _lstm(sums, cell) -> list:
    """Sums (rows, 4 units) of the gates i, f, g, o -> hidden and cell state (rows, units)."""
    in_gate, forget, candidate, out_gate = tf.split(sums, 4, axis=-1)
    cell = tf.sigmoid(forget) * cell + tf.sigmoid(in_gate) * tf.tanh(candidate)
    return [tf.sigmoid(out_gate) * tf.tanh(cell), cell]


@keras.saving.register_keras_serializable("cellstate")
class SoftAttention(Decoder):
    """Xu et al. 2015, https://arxiv.org/abs/1502.03044: the LSTM looks before each word.

    context = sigm(f(h)) * sum over regions of attention(h) * region;  h, c = LSTM([word, context])
    """

    def __init__(self, num_words: int, **options):
        super().__init__(num_words, **options)
        self.key, self.query, self.score = _attention(self.arguments["attention_units"])
        self.gate = keras.layers.Dense(1, name="gate")
        self.see = keras.layers.Dense(4 * self.units, use_bias=False, name="see")
        self.first = keras.layers.Dense(2 * self.units, activation="tanh", name="first")
        self.cell = LSTMCell(self.units, name="lstm")

    @property
    def output_dim(self) -> int:
        """See the base class."""
        return self.units + self.region_dim

    def build_cells(self) -> None:
        """See the base class."""
        for layer in (self.key, self.see, self.first):
            layer.build((None, self.region_dim))
        for layer in (self.query, self.gate):
            layer.build((None, self.units))
        self.score.build((None, self.query.units))
        self.cell.build((None, self.word_dim))

    def remember(self, regions) -> tuple[Memory, list]:
        """See the base class."""
        constants = {
            "regions": regions,
            "keys": self.key(regions),
            "score": tf.convert_to_tensor(self.score.kernel),
            "gate": tf.convert_to_tensor(self.gate.bias),
        }
        asking = (self.query.kernel, self.gate.kernel, self.cell.recurrent_kernel)
        kernels = {
            "hidden": tf.concat([tf.convert_to_tensor(one) for one in asking], axis=1),
            "context": tf.convert_to_tensor(self.see.kernel),
        }
        states = tf.split(self.first(tf.reduce_mean(regions, axis=1)), 2, axis=-1)
        return Memory(constants, kernels), states

    def enter(self, embedded):
        """See the base class."""
        return self.cell.project(embedded)

    def advance(self, entering, states: list, constants: dict, product: Product) -> tuple:
        """See the base class."""
        sizes = [self.query.units, 1, 4 * self.units]
        query, gate, recurrent = tf.split(product(states[0], "hidden"), sizes, axis=-1)
        context, weights = _look(query, constants)
        context = tf.sigmoid(gate + constants["gate"]) * context
        sums = entering + recurrent + product(context, "context")
        states = _lstm(sums, states[1])
        return states, tf.concat([states[0], context], axis=-1), weights


@keras.saving.register_keras_serializable("cellstate")
class ShowAndTell(Decoder):
    """Vinyals et al. 2015, https://arxiv.org/abs/1411.4555: the image is the LSTM's first input.

    It looks once, at the mean of the regions: its attention is the same everywhere.
    """

    def __init__(self, num_words: int, **options):
        super().__init__(num_words, **options)
        self.show = keras.layers.Dense(self.word_dim, name="show")
        self.lstm = LSTM(self.units, return_sequences=True, name="lstm")

    @property
    def output_dim(self) -> int:
        """See the base class."""
        return self.units

    def build_cells(self) -> None:
        """See the base class."""
        self.show.build((None, self.region_dim))
        self.lstm.build((None, None, self.word_dim))

    def remember(self, regions) -> tuple[Memory, list]:
        """See the base class."""
        shown = self.show(tf.reduce_mean(regions, axis=1))
        zeros = tf.zeros([tf.shape(shown)[0], self.units], shown.dtype)
        _, states = self.lstm.cell(shown, [zeros, zeros])
        return Memory({"regions": regions}, {}), list(states)

    def enter(self, embedded):
        """The words as they are: the LSTM's cell takes them so."""
        return embedded

    def advance(self, entering, states: list, constants: dict, product: Product) -> tuple:
        """See the base class."""
        hidden, states = self.lstm.cell(entering, states)
        return list(states), hidden, _everywhere(constants, [tf.shape(entering)[0]])

    def scan(self, embedded, states: list, memory: Memory) -> tuple:
        """See the base class: without attention the whole sentence goes through the fast LSTM."""
        hidden = self.lstm(embedded, initial_state=states)
        return hidden, _everywhere(memory.constants, tf.unstack(tf.shape(embedded)[:2]))


def _everywhere(constants: dict, outer: list):
    """The same weight for all regions, (*outer, regions)."""
    regions = tf.shape(constants["regions"])[1]
    return tf.fill([*outer, regions], 1.0 / tf.cast(regions, tf.float32))


DECODERS = {"soft_attention": SoftAttention, "show_and_tell": ShowAndTell}
