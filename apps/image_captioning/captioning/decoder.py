"""The decoders: in training they read a sentence at once, in decoding they write word by word.

grid (batch, rows, columns, channels), token_ids (batch, captions, time)
    -> logits (steps, vocab) of the real steps alone, row by row

Rows are (batch, captions) in training and (batch, hypotheses) in decoding. What belongs to an image
is kept once for all of its rows and steps, in the memory: tensors by name, "regions" (batch,
regions, region_dim) and what a decoder adds.
"""

import keras
import tensorflow as tf

from common.decoding import sampling
from common.layers.cells import LSTMCell
from common.lstm.layer import LSTM
from common.runs.registration import registered
from common.training import strategies


class Decoder(keras.layers.Layer):
    """What all decoders share: regions, words, the scan over a sentence, the output.

    Output layer ("deep output", Pascanu et al. 2014, https://arxiv.org/abs/1312.6026):
    p(word) = softmax(L_o tanh(E word_before + L [output of the LSTM])), as in Xu et al. 2015.

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
        # Papers: none. Without it, attention cannot tell the left one of two persons.
        places = (grid_shape[1] * grid_shape[2], self.region_dim)
        self.places = self.add_weight(shape=places, initializer="zeros", name="places")
        self.build_cells()

    def start(self, grid, training=False) -> tuple[dict, list]:
        """Grid (batch, rows, columns, channels) -> memory, states (batch, units) before a word."""
        batch, rows, columns, channels = keras.ops.shape(grid)
        flat = tf.reshape(tf.cast(grid, self.compute_dtype), [batch, rows * columns, channels])
        regions = self.project(self.drop["regions"](flat, training=training)) + self.places
        return self.remember(regions)

    def step(self, token_ids, states: list, memory: dict) -> tuple:
        """One word: ids (rows,), states -> log_probs (rows, vocab), states, attention.

        States are (rows, units). Attention is float32 (rows, regions), each row summing to 1.
        """
        embedded = self.embed(token_ids)
        states, outputs, attention = self.advance(embedded, states, memory)
        logits = self.logits(embedded, outputs)
        return tf.nn.log_softmax(tf.cast(logits, tf.float32)), states, attention

    def call(self, grid, token_ids, token_mask, training=False):
        """See the module; `token_mask` (batch, captions, time) is True where a word follows."""
        memory, states = self.start(grid, training=training)
        captions, time = tf.shape(token_ids)[1], tf.shape(token_ids)[2]
        token_ids, real = tf.reshape(token_ids, [-1, time]), tf.reshape(token_mask, [-1, time])
        states, _ = sampling.tile(states, captions)
        embedded = self.drop["words"](self.embed(token_ids), training=training)
        outputs, attention = self.read(embedded, states, memory)
        if training and self.coverage:
            self.add_loss(self.coverage * _uncovered(attention, real))
        embedded, outputs = tf.boolean_mask(embedded, real), tf.boolean_mask(outputs, real)
        return tf.cast(self.logits(embedded, outputs, training=training), tf.float32)

    def compute_output_spec(self, grid, token_ids, token_mask, training=False):
        """See the module."""
        return keras.KerasTensor((None, self.arguments["num_words"]), "float32")

    def read(self, embedded, states: list, memory: dict) -> tuple:
        """All steps: (rows, time, word_dim) -> outputs of the LSTM (rows, time, ..), attention."""
        time, by_step = tf.shape(embedded)[1], tf.transpose(embedded, [1, 0, 2])

        def body(t, states, arrays):
            states, *results = self.advance(by_step[t], states, memory)
            pairs = zip(arrays, results, strict=True)
            return t + 1, states, [array.write(t, values) for array, values in pairs]

        arrays = [tf.TensorArray(tf.float32, time) for _ in ("outputs", "attention")]
        _, _, arrays = tf.while_loop(
            lambda t, *_: t < time, body, (0, states, arrays), maximum_iterations=time
        )
        outputs, attention = (tf.transpose(array.stack(), [1, 0, 2]) for array in arrays)
        return outputs, attention

    def logits(self, embedded, outputs, training=False):
        """Vectors of the words before (..., word_dim), outputs of the LSTM -> logits."""
        features = tf.tanh(self.deep(outputs) + embedded)
        return self.embed(self.drop["output"](features, training=training), reverse=True)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), **self.arguments}

    def build_cells(self) -> None:
        """Makes the weights of the LSTM, of attention and of `deep`."""
        raise NotImplementedError

    def remember(self, regions) -> tuple[dict, list]:
        """(batch, regions, region_dim) -> memory, states (batch, units) before the first word."""
        raise NotImplementedError

    def advance(self, embedded, states: list, memory: dict) -> tuple:
        """One word (rows, word_dim) -> states, outputs of the LSTM (rows, ..), attention."""
        raise NotImplementedError


@registered("apps.image_captioning.model")
class SoftAttention(Decoder):
    """Xu et al. 2015, https://arxiv.org/abs/1502.03044: the LSTM looks before each word.

    context = sigm(f(h)) * sum over regions of attention(h) * region;  h, c = LSTM([word, context])
    """

    computed_by = "TensorFlow loop of the decoder"  # see layers.recurrent.kernels

    def __init__(self, num_words: int, **options):
        super().__init__(num_words, **options)
        attention_units = self.arguments["attention_units"]
        self.key = keras.layers.Dense(attention_units, name="key")
        self.query = keras.layers.Dense(attention_units, use_bias=False, name="query")
        self.score = keras.layers.Dense(1, use_bias=False, name="score")
        self.gate = keras.layers.Dense(1, activation="sigmoid", name="gate")
        self.see = keras.layers.Dense(4 * self.units, use_bias=False, name="see")
        self.first = keras.layers.Dense(2 * self.units, activation="tanh", name="first")
        self.cell = LSTMCell(self.units, name="lstm")

    def build_cells(self) -> None:
        """See the base class."""
        for layer in (self.key, self.see, self.first):
            layer.build((None, self.region_dim))
        for layer in (self.query, self.gate):
            layer.build((None, self.units))
        self.score.build((None, self.query.units))
        self.cell.build((None, self.word_dim))
        self.deep.build((None, self.units + self.region_dim))

    def remember(self, regions) -> tuple[dict, list]:
        """See the base class."""
        states = tf.split(self.first(tf.reduce_mean(regions, axis=1)), 2, axis=-1)
        return {"regions": regions, "keys": self.key(regions)}, states

    def advance(self, embedded, states: list, memory: dict) -> tuple:
        """See the base class."""
        context, attention = self.attend(states[0], **memory)
        context = self.gate(states[0]) * context
        sums = self.cell.project(embedded) + self.see(context)
        (hidden, cell), _ = self.cell.step(sums, states)
        return [hidden, cell], tf.concat([hidden, context], axis=-1), attention

    def attend(self, hidden, regions, keys) -> tuple:
        """Additive attention: rows of several to an image ask its regions.

        score[row, region] = v . tanh(query[row] + key[region])    https://arxiv.org/abs/1409.0473

        Hidden (rows, units) -> context (rows, region_dim), weights (rows, regions).
        """
        rows, (batch, places) = tf.shape(hidden)[0], tf.unstack(tf.shape(regions)[:2])
        count = rows // tf.maximum(batch, 1)
        query = tf.reshape(self.query(hidden), [batch, count, 1, self.query.units])
        # (batch, rows of an image, regions, attention_units)
        energy = tf.tanh(tf.expand_dims(keys, 1) + query)
        # A product of two matrices: of four axes with two, TensorFlow 2.21 corrupts memory here.
        scores = tf.matmul(tf.reshape(energy, [-1, energy.shape[-1]]), self.score.kernel)
        weights = tf.nn.softmax(tf.reshape(scores, [batch, count, places]))
        context = tf.matmul(weights, regions)
        return tf.reshape(context, [rows, self.region_dim]), tf.reshape(weights, [rows, places])


@registered("apps.image_captioning.model")
class ShowAndTell(Decoder):
    """Vinyals et al. 2015, https://arxiv.org/abs/1411.4555: the image is the LSTM's first input.

    It looks once, at the mean of the regions: its attention is the same everywhere.
    """

    def __init__(self, num_words: int, **options):
        super().__init__(num_words, **options)
        self.show = keras.layers.Dense(self.word_dim, name="show")
        self.lstm = LSTM(self.units, return_sequences=True, name="lstm")

    def build_cells(self) -> None:
        """See the base class."""
        self.show.build((None, self.region_dim))
        self.lstm.build((None, None, self.word_dim))
        self.deep.build((None, self.units))

    def remember(self, regions) -> tuple[dict, list]:
        """See the base class."""
        image = self.show(tf.reduce_mean(regions, axis=1))
        zeros = tf.zeros([tf.shape(image)[0], self.units], image.dtype)
        _, states = self.lstm.cell(image, [zeros, zeros])
        return {"regions": regions}, list(states)

    def advance(self, embedded, states: list, memory: dict) -> tuple:
        """See the base class."""
        hidden, states = self.lstm.cell(embedded, states)
        return list(states), hidden, _uniform(memory, [tf.shape(embedded)[0]])

    def read(self, embedded, states: list, memory: dict) -> tuple:
        """See the base class: without attention the whole sentence goes through the fast LSTM."""
        hidden = self.lstm(embedded, initial_state=states)
        return hidden, _uniform(memory, tf.unstack(tf.shape(embedded)[:2]))


DECODERS = {"soft_attention": SoftAttention, "show_and_tell": ShowAndTell}


def _uniform(memory: dict, outer: list):
    """The same weight for all regions, (*outer, regions)."""
    regions = tf.shape(memory["regions"])[1]
    return tf.fill([*outer, regions], 1.0 / tf.cast(regions, tf.float32))


def _uncovered(attention, real):
    """Mean over captions of the squared shares by which regions had too little attention.

    Over those of all replicas: of what a layer adds to the loss, Keras takes the mean of theirs.
    """
    totals = tf.reduce_sum(attention * tf.cast(real, tf.float32)[..., None], axis=1)
    by_caption = tf.reduce_sum(tf.square(1.0 - totals), axis=1)
    counted = tf.cast(real[:, 0], tf.float32)
    num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
    count = strategies.sum_over_replicas(tf.reduce_sum(counted)) / num_replicas
    return tf.math.divide_no_nan(tf.reduce_sum(by_caption * counted), count)
