"""Recurrent cells with one interface: simple RNN, GRU and the LSTMs.

A cell splits one step in two, so that a layer can do the first half for a whole sequence at once:

    projected = cell.project(inputs)                # (..., input_dim) -> (..., blocks * units)
    step = cell.step(projected[:, t], step.states)  # the rest, which needs the states

`step.states[0]` is the hidden state, which is also the output; `step.inside` holds every gate,
candidate and state by name, to look into. Cells work in `keras.layers.RNN` too.
"""

from typing import NamedTuple

import keras
from keras import ops

from common.runs.registration import registered


class Step(NamedTuple):
    """The results of one step.

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

    def step(self, projected, states) -> Step:
        """Goes one step.

        Args:
            projected: (batch, blocks * units) from `project`.
            states: tensors (batch, size).
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


@registered("common.layers")
class ElmanCell(Cell):
    """Simple recurrent network: h_t = tanh(W x_t + U h_{t-1} + b).

    Elman 1990, https://doi.org/10.1207/s15516709cog1402_1. Weights as `keras.layers.SimpleRNN`.
    """

    def __init__(self, units: int, **options):
        super().__init__(units, ("candidate",), **options)

    def step(self, projected, states) -> Step:
        """See the base class."""
        recurrent = ops.matmul(states[0], self.recurrent_kernel)
        hidden = ops.tanh(projected + recurrent)
        return Step((hidden,), {"hidden": hidden})


@registered("common.layers")
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

    def step(self, projected, states) -> Step:
        """See the base class."""
        hidden, units = states[0], self.units
        of_input = self.split(projected)
        if self.reset_after:
            recurrent = ops.matmul(hidden, self.recurrent_kernel) + self.bias[1]
        else:
            recurrent = ops.matmul(hidden, self.recurrent_kernel[:, : 2 * units])
        update = ops.sigmoid(of_input["update"] + recurrent[:, :units])
        reset = ops.sigmoid(of_input["reset"] + recurrent[:, units : 2 * units])
        if self.reset_after:
            candidate_recurrent = reset * recurrent[:, 2 * units :]
        else:
            candidate_recurrent = ops.matmul(reset * hidden, self.recurrent_kernel[:, 2 * units :])
        candidate = ops.tanh(of_input["candidate"] + candidate_recurrent)
        hidden = update * hidden + (1 - update) * candidate
        inside = {"update": update, "reset": reset, "candidate": candidate, "hidden": hidden}
        return Step((hidden,), inside)

    def get_config(self) -> dict:
        """See the base class."""
        return {**super().get_config(), "reset_after": self.reset_after}


@registered("common.layers")
class LSTMCell(Cell):
    """Long short-term memory, and what its literature varies.

        i = sigm(W_i x_t + U_i h_{t-1} + p_i * c_{t-1} + b_i)          input gate
        f = sigm(W_f x_t + U_f h_{t-1} + p_f * c_{t-1} + b_f)          forget gate
        g = tanh(W_g x_t + U_g h_{t-1} + b_g)                          candidate
        c_t = f * c_{t-1} + i * g
        o = sigm(W_o x_t + U_o h_{t-1} + p_o * c_t + b_o)              output gate
        h_t = o * tanh(c_t)

    Without options the LSTM of Gers et al. 2000 (https://doi.org/10.1162/089976600300015015), the
    p being zero; its weights are those of `keras.layers.LSTM`: blocks i, f, g, o. A gate that is
    left out counts as 1 and has no weights. The options are the ablations of Greff et al. 2017,
    "LSTM: A Search Space Odyssey" (https://arxiv.org/abs/1503.04069), which calls them NIG, NFG,
    NOG, CIFG, NIAF, NOAF and FGR, and two more papers.

    Args:
        units: size of the hidden and of the cell state.
        input_gate, output_gate: False leaves the gate out.
        forget_gate: False: c_t = c_{t-1} + i * g, the constant error carousel of Hochreiter &
            Schmidhuber 1997 (https://doi.org/10.1162/neco.1997.9.8.1735). That paper also cut the
            gradient at the gates and squashed g to [-2, 2]; neither is done here.
        coupled: f = 1 - i; the forget gate has no weights of its own.
        input_activation, output_activation: False leaves out the tanh of g, or that of c_t.
        peepholes: the p of the equations, Gers & Schmidhuber 2000
            (https://doi.org/10.1109/IJCNN.2000.861302).
        full_gate_recurrence: every gate also gets all gates of the step before, through a matrix;
            they are a third state.
        layer_norm: normalises W x, U h and the c_t of the last line over their units, Ba et al.
            2016, https://arxiv.org/abs/1607.06450.
        forget_bias: b_f at the start; 1 keeps what is in the cell (Jozefowicz et al. 2015,
            https://proceedings.mlr.press/v37/jozefowicz15.html).
    """

    def __init__(
        self,
        units: int,
        *,
        input_gate: bool = True,
        forget_gate: bool = True,
        output_gate: bool = True,
        coupled: bool = False,
        input_activation: bool = True,
        output_activation: bool = True,
        peepholes: bool = False,
        full_gate_recurrence: bool = False,
        layer_norm: bool = False,
        forget_bias: float = 1.0,
        **options,
    ):
        if coupled and not (input_gate and forget_gate):
            raise ValueError("coupled ties the forget gate to the input gate: leave out neither")
        gates = {"input": input_gate, "forget": forget_gate and not coupled, "output": output_gate}
        present = {**gates, "candidate": True}
        order = ("input", "forget", "candidate", "output")
        super().__init__(units, tuple(name for name in order if present[name]), **options)
        self.gates = tuple(name for name in ("input", "forget", "output") if gates[name])
        self.options = {
            "input_gate": input_gate,
            "forget_gate": forget_gate,
            "output_gate": output_gate,
            "coupled": coupled,
            "input_activation": input_activation,
            "output_activation": output_activation,
            "peepholes": peepholes,
            "full_gate_recurrence": full_gate_recurrence,
            "layer_norm": layer_norm,
            "forget_bias": forget_bias,
        }
        self.coupled = coupled
        self.squash_input = ops.tanh if input_activation else _same
        self.squash_output = ops.tanh if output_activation else _same
        self.peepholes = peepholes
        self.full_gate_recurrence = full_gate_recurrence
        self.norms = {}
        if layer_norm:
            # The shift of the sums is the bias.
            for name, shifted in (("inputs", False), ("recurrent", False), ("cell", True)):
                self.norms[name] = keras.layers.LayerNormalization(
                    center=shifted, epsilon=1e-5, dtype=self.dtype_policy, name=f"norm_{name}"
                )

    @property
    def state_size(self) -> list[int]:
        """Hidden state, cell state, and with full gate recurrence all gates."""
        gates = [len(self.gates) * self.units] if self.full_gate_recurrence else []
        return [self.units, self.units, *gates]

    def build(self, input_shape):
        """See the base class."""
        super().build(input_shape)
        if "forget" in self.blocks:
            start = self.blocks.index("forget") * self.units
            bias = ops.zeros((self.bias.shape[0],))
            forget = ops.full((self.units,), self.options["forget_bias"])
            self.bias.assign(ops.slice_update(bias, (start,), forget))
        if self.peepholes:
            self.peephole_kernel = self.add_weight(
                shape=(len(self.gates), self.units), initializer="zeros", name="peephole_kernel"
            )
        if self.full_gate_recurrence:
            width = len(self.gates) * self.units
            self.gate_kernel = self.add_weight(
                shape=(width, width), initializer="orthogonal", name="gate_kernel"
            )
        for name, norm in self.norms.items():
            width = self.units if name == "cell" else self.bias.shape[0]
            norm.build((None, width))

    def project(self, inputs):
        """See the base class."""
        return self._normalised("inputs", ops.matmul(inputs, self.kernel)) + self.bias

    def step(self, projected, states) -> Step:
        """See the base class."""
        hidden, cell = states[:2]
        recurrent = ops.matmul(hidden, self.recurrent_kernel)
        sums = self.split(projected + self._normalised("recurrent", recurrent))
        if self.full_gate_recurrence:
            shares = ops.split(ops.matmul(states[2], self.gate_kernel), len(self.gates), axis=-1)
            for name, share in zip(self.gates, shares, strict=True):
                sums[name] = sums[name] + share
        inside = {}
        for name in ("input", "forget"):
            inside[name] = self._gate(name, sums, cell)
        if self.coupled:
            inside["forget"] = 1 - inside["input"]
        candidate = self.squash_input(sums["candidate"])
        cell = inside["forget"] * cell + inside["input"] * candidate
        inside["output"] = self._gate("output", sums, cell)
        hidden = inside["output"] * self.squash_output(self._normalised("cell", cell))
        inside = {**inside, "candidate": candidate, "cell": cell, "hidden": hidden}
        gates = (ops.concatenate([inside[name] for name in self.gates], axis=-1),)
        return Step((hidden, cell, *(gates if self.full_gate_recurrence else ())), inside)

    def get_config(self) -> dict:
        """See the base class."""
        return {**super().get_config(), **self.options}

    def _gate(self, name: str, sums: dict, cell):
        if name not in self.gates:
            return ops.ones_like(cell)
        total = sums[name]
        if self.peepholes:
            total = total + cell * self.peephole_kernel[self.gates.index(name)]
        return ops.sigmoid(total)

    def _normalised(self, name: str, values):
        return self.norms[name](values) if name in self.norms else values


def _same(values):
    return values
