"""Recurrent cells with one interface: simple RNN and GRU here, the LSTMs in lstm_cell.py.

A cell splits one step in two, so that a layer can do the first half for a whole sequence at once:

    projected = cell.project(inputs)                # (..., input_dim) -> (..., blocks * units)
    step = cell.step(projected[:, t], step.states)  # the rest, which needs the states

`step.states[0]` is the hidden state, which is also the output; `step.inside` holds every gate,
candidate and state by name, to look into. Cells work in `keras.layers.RNN` too.
"""

from typing import NamedTuple

import keras
from keras import ops


class Step(NamedTuple):
    """What one step gives.

    Attributes:
        states: tensors (batch, size), the hidden state (batch, units) first.
        inside: name -> tensor (batch, units): gates in [0, 1], candidate, states.
    """

    states: tuple
    inside: dict


class Cell(keras.layers.Layer):
    """Base of the cells: weights `kernel`, `recurrent_kernel` and `bias` in blocks side by side.

    Args:
        units: size of the hidden state.
        blocks: names of the gates and the candidate, in the order of their blocks of weights.
    """

    def __init__(self, units: int, blocks: tuple[str, ...], **options):
        super().__init__(**options)
        if units < 1:
            raise ValueError(f"units must be at least 1, got {units}")
        self.units = units
        self.blocks = blocks

    @property
    def state_size(self) -> list[int]:
        """Sizes of the states, for `keras.layers.RNN`."""
        return [self.units]

    @property
    def output_size(self) -> int:
        """Size of the output, for `keras.layers.RNN`."""
        return self.units

    def get_initial_state(self, batch_size=None) -> list:
        """Zeros (batch, size) for each state."""
        return [ops.zeros((batch_size, size), self.compute_dtype) for size in self.state_size]

    def build(self, input_shape):
        """Makes the weights, with the initial values of Keras' own recurrent layers."""
        width = len(self.blocks) * self.units
        self.kernel = self.add_weight(
            shape=(input_shape[-1], width), initializer="glorot_uniform", name="kernel"
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, width), initializer="orthogonal", name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=self.bias_shape(width), initializer="zeros", name="bias")

    def bias_shape(self, width: int) -> tuple[int, ...]:
        """Shape of the bias for `width` sums."""
        return (width,)

    def project(self, inputs):
        """The share of the inputs in every sum: (..., input_dim) -> (..., blocks * units)."""
        return ops.matmul(inputs, self.kernel) + self.bias

    def step(self, projected, states, recurrent_mask=None) -> Step:
        """Goes one step.

        Args:
            projected: (batch, blocks * units) from `project`.
            states: tensors (batch, size).
            recurrent_mask: (batch, units) factor on the hidden state where it enters the sums
                (variational dropout, Gal & Ghahramani 2016, https://arxiv.org/abs/1512.05287).
        """
        raise NotImplementedError

    def call(self, inputs, states, training=False):
        """One step for `keras.layers.RNN`: (batch, input_dim), states -> output, states."""
        new_states = self.step(self.project(inputs), states).states
        return new_states[0], list(new_states)

    def split(self, sums) -> dict:
        """Cuts (batch, blocks * units) into the blocks by name."""
        return dict(zip(self.blocks, ops.split(sums, len(self.blocks), axis=-1), strict=True))

    def get_config(self) -> dict:
        """The options that make the same cell."""
        return {**super().get_config(), "units": self.units}


def masked(hidden, mask):
    """`hidden` times its dropout factors, if there are any."""
    return hidden if mask is None else hidden * mask


@keras.saving.register_keras_serializable("cellstate")
class ElmanCell(Cell):
    """Simple recurrent network: h_t = tanh(W x_t + U h_{t-1} + b).

    Elman 1990, https://doi.org/10.1207/s15516709cog1402_1. Weights as `keras.layers.SimpleRNN`.
    """

    def __init__(self, units: int, **options):
        super().__init__(units, ("candidate",), **options)

    def step(self, projected, states, recurrent_mask=None) -> Step:
        """See the base class."""
        recurrent = ops.matmul(masked(states[0], recurrent_mask), self.recurrent_kernel)
        hidden = ops.tanh(projected + recurrent)
        return Step((hidden,), {"hidden": hidden})


@keras.saving.register_keras_serializable("cellstate")
class GRUCell(Cell):
    """Gated recurrent unit, Cho et al. 2014, https://arxiv.org/abs/1406.1078.

        z = sigm(W_z x_t + U_z h_{t-1} + b_z)                   update
        r = sigm(W_r x_t + U_r h_{t-1} + b_r)                   reset
        n = tanh(W_n x_t + U_n (r * h_{t-1}) + b_n)             candidate
        n = tanh(W_n x_t + b_n + r * (U_n h_{t-1} + b'_n))      candidate with `reset_after`
        h_t = z * h_{t-1} + (1 - z) * n

    Weights as `keras.layers.GRU`, blocks z, r, n. `reset_after` is the form of cuDNN and of the
    first version of the paper; its bias (2, 3 units) has the recurrent side in the second row.
    """

    def __init__(self, units: int, *, reset_after: bool = True, **options):
        super().__init__(units, ("update", "reset", "candidate"), **options)
        self.reset_after = reset_after

    def bias_shape(self, width: int) -> tuple[int, ...]:
        """Two rows with `reset_after`."""
        return (2, width) if self.reset_after else (width,)

    def project(self, inputs):
        """See the base class."""
        bias = self.bias[0] if self.reset_after else self.bias
        return ops.matmul(inputs, self.kernel) + bias

    def step(self, projected, states, recurrent_mask=None) -> Step:
        """See the base class."""
        hidden, units = states[0], self.units
        entering = masked(hidden, recurrent_mask)
        of_input = self.split(projected)
        if self.reset_after:
            recurrent = ops.matmul(entering, self.recurrent_kernel) + self.bias[1]
        else:
            recurrent = ops.matmul(entering, self.recurrent_kernel[:, : 2 * units])
        update = ops.sigmoid(of_input["update"] + recurrent[:, :units])
        reset = ops.sigmoid(of_input["reset"] + recurrent[:, units : 2 * units])
        if self.reset_after:
            candidate_recurrent = reset * recurrent[:, 2 * units :]
        else:
            candidate_recurrent = ops.matmul(
                reset * entering, self.recurrent_kernel[:, 2 * units :]
            )
        candidate = ops.tanh(of_input["candidate"] + candidate_recurrent)
        hidden = update * hidden + (1 - update) * candidate
        inside = {"update": update, "reset": reset, "candidate": candidate, "hidden": hidden}
        return Step((hidden,), inside)

    def get_config(self) -> dict:
        """See the base class."""
        return {**super().get_config(), "reset_after": self.reset_after}
