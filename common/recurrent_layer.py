"""Runs any cell over time: inputs (batch, time, dim), mask (batch, time) -> outputs and states."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("cellstate")
class Recurrent(keras.layers.RNN):
    """A cell of `common.cells` or `common.lstm_cell` over a sequence; a `keras.layers.RNN`.

    Differs from its base class: the inputs of all steps go through one matrix product before the
    loop; a step that the mask (batch, time; bool, True = real) leaves out gives zeros and keeps
    the states, wherever it stands; and two regularisers act on the states in training.

    Args:
        cell: one cell; a stack is a stack of layers.
        recurrent_dropout: share of the hidden state dropped where it enters the next step, the
            same units in all steps (Gal & Ghahramani 2016, https://arxiv.org/abs/1512.05287).
        zoneout: for each state, hidden state first, the chance of a unit to keep its old value in
            a step; outside training the expected value (Krueger et al. 2017,
            https://arxiv.org/abs/1606.01305, who take (0.05, 0.5) for an LSTM).
    """

    def __init__(
        self,
        cell: keras.layers.Layer,
        *,
        recurrent_dropout: float = 0.0,
        zoneout: tuple[float, ...] = (),
        zero_output_for_mask: bool = True,
        **options,
    ):
        super().__init__(cell, zero_output_for_mask=zero_output_for_mask, **options)
        if not all(0.0 <= rate < 1.0 for rate in (recurrent_dropout, *zoneout)):
            raise ValueError("recurrent_dropout and the rates of zoneout must be in [0, 1)")
        if zoneout and len(zoneout) != len(cell.state_size):
            raise ValueError(
                f"zoneout: expected {len(cell.state_size)} rates, one for each state of "
                f"{type(cell).__name__}, got {len(zoneout)}"
            )
        self.recurrent_dropout = recurrent_dropout
        self.zoneout = tuple(zoneout)
        self.seed_generator = keras.random.SeedGenerator()

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """The loop, for `keras.layers.RNN.call`: last output, all outputs, last states."""
        time = tf.shape(sequences)[1]
        steps = _by_time(self.cell.project(sequences))
        real = None if mask is None else _by_time(mask[..., None])
        recurrent_mask, seed = None, None
        if training and self.recurrent_dropout:
            recurrent_mask = keras.random.dropout(
                tf.ones_like(initial_state[0]), self.recurrent_dropout, seed=self.seed_generator
            )
        if training and self.zoneout:
            seed = tf.cast(self.seed_generator.next(), tf.int32)

        def body(t, states, outputs):
            here = time - 1 - t if self.go_backwards else t
            new = self.cell.step(steps.read(here), states, recurrent_mask).states
            if self.zoneout:
                new = self._zoned_out(states, new, seed, t)
            output = new[0]
            if real is not None:
                now = real.read(here)
                pairs = zip(new, states, strict=True)
                new = tuple(tf.where(now, after, before) for after, before in pairs)
                output = tf.where(now, output, 0) if self.zero_output_for_mask else new[0]
            return t + 1, new, outputs.write(t, output)

        states = tuple(initial_state)
        outputs = tf.TensorArray(states[0].dtype, time, element_shape=states[0].shape)
        _, states, outputs = tf.while_loop(
            lambda t, *_: t < time, body, (0, states, outputs), maximum_iterations=time
        )
        return states[0], tf.transpose(outputs.stack(), [1, 0, 2]), list(states)

    def get_config(self) -> dict:
        """See the base class."""
        own = {"recurrent_dropout": self.recurrent_dropout, "zoneout": self.zoneout}
        return {**super().get_config(), **own}

    def _zoned_out(self, states, new, seed, t):
        mixed = []
        for place, (rate, before, after) in enumerate(zip(self.zoneout, states, new, strict=True)):
            if seed is None:
                mixed.append(rate * before + (1 - rate) * after)
            else:
                drawn = tf.random.stateless_uniform(
                    tf.shape(after), seed + tf.stack([t, place]), dtype=tf.float32
                )
                mixed.append(tf.where(drawn < rate, before, after))
        return tuple(mixed)


def _by_time(values: tf.Tensor) -> tf.TensorArray:
    """(batch, time, size) -> an array of (batch, size) by time."""
    array = tf.TensorArray(values.dtype, tf.shape(values)[1], element_shape=values.shape[::2])
    return array.unstack(tf.transpose(values, [1, 0, 2]))
