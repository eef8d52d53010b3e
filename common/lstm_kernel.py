"""The LSTM over packed sequences on a CPU, forward and backward, compiled to machine code.

Packed: the real steps of all sequences one after the other, (steps, size); sequence b holds
`lengths[b]` rows from `starts[b]` on. Padding does not exist here, so time and memory grow with
the real steps alone. Within a step the rows are independent: each thread takes some sequences
through all their steps, and threads never wait for each other.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numba import njit

from common import lstm_tiles
from common.lstm_tiles import LANES, MANY_ROWS, SOME_ROWS, gate_gradients

_forward_many, _forward_some, _forward_one = (
    lstm_tiles.make_forward_tile(rows) for rows in (MANY_ROWS, SOME_ROWS, 1)
)
_wide_many, _wide_some, _wide_one = (
    lstm_tiles.make_product_tile(rows, 4) for rows in (MANY_ROWS, SOME_ROWS, 1)
)
_thin_many, _thin_some, _thin_one = (
    lstm_tiles.make_product_tile(rows, 1) for rows in (MANY_ROWS, SOME_ROWS, 1)
)
_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_pool = ThreadPoolExecutor(max(1, _cores - 1), thread_name_prefix="lstm")
_tiles_digest = hashlib.sha256(Path(lstm_tiles.__file__).read_bytes()).hexdigest()[:12]


def _compiled(function):
    # numba keeps machine code on disk and looks at the function's own file alone: without the
    # digest in the name, a change of the tiles would leave the old code in use.
    function.__qualname__ += f"_{_tiles_digest}_{LANES}"
    return njit(nogil=True, cache=True, error_model="numpy")(function)


def forward(inputs, starts, lengths, kernel, recurrent_kernel, bias, hidden, cell, *, reverse):
    """Runs all sequences.

    Args:
        inputs: float32 (steps, input_dim), packed.
        starts, lengths: int64 (batch,).
        kernel, recurrent_kernel, bias: float32 (input_dim, 4 units), (units, 4 units), (4 units,)
            in blocks i, f, candidate, o; `units` a multiple of LANES.
        hidden, cell: float32 (batch, units), the states at the start.
        reverse: each sequence from its last step to its first.

    Returns:
        gates (steps, 4 units), hidden and cell states (steps, units), packed; the last hidden and
        cell states (batch, units), in a sequence without steps those of the start.
    """
    num_steps, units = len(inputs), hidden.shape[1]
    gates = _empty(num_steps, 4 * units)
    hiddens, cells = _empty(num_steps, units), _empty(num_steps, units)
    panels = _gate_panels(kernel, recurrent_kernel, bias)
    _in_lanes(
        lengths,
        lambda rows: _forward_lane(
            rows, starts, lengths, reverse, inputs.reshape(-1), inputs.shape[1], panels, units,
            hidden.reshape(-1), cell.reshape(-1),
            gates.reshape(-1), hiddens.reshape(-1), cells.reshape(-1),
        ),
    )  # fmt: skip
    some = lengths > 0
    last = (starts if reverse else starts + lengths - 1)[some]
    last_hidden, last_cell = hidden.copy(), cell.copy()
    last_hidden[some], last_cell[some] = hiddens[last], cells[last]
    return gates, hiddens, cells, last_hidden, last_cell


def backward(starts, lengths, recurrent_kernel, hidden, cell, gates, hiddens, cells, upstream,
             last_hidden, last_cell, *, reverse):  # fmt: skip
    """Runs all sequences back.

    Args:
        starts, lengths, recurrent_kernel, hidden, cell, reverse: as in `forward`.
        gates, hiddens, cells: what `forward` gave.
        upstream: float32 (steps, units), gradient at `hiddens`.
        last_hidden, last_cell: float32 (batch, units), gradient at the states after the last step.

    Returns:
        gradient at the sums (steps, 4 units); the hidden state before each step (steps, units),
        which `recurrent_kernel` met; gradients at `hidden` and `cell` (batch, units).
    """
    num_steps, units = hiddens.shape
    sums, entering = _empty(num_steps, 4 * units), _empty(num_steps, units)
    dhidden, dcell = last_hidden.copy(), last_cell.copy()
    panels = _transposed_panels(recurrent_kernel)
    _in_lanes(
        lengths,
        lambda rows: _backward_lane(
            rows, starts, lengths, reverse, panels, units, hidden.reshape(-1), cell.reshape(-1),
            gates.reshape(-1), hiddens.reshape(-1), cells.reshape(-1), upstream.reshape(-1),
            dhidden.reshape(-1), dcell.reshape(-1), sums.reshape(-1), entering.reshape(-1),
        ),
    )  # fmt: skip
    return sums, entering, dhidden, dcell


def _empty(rows: int, size: int) -> np.ndarray:
    """An array that TensorFlow can take without a copy: it begins at a multiple of 64 bytes."""
    room = np.empty(rows * size + 16, np.float32)
    first = -(room.ctypes.data // 4) % 16
    return room[first : first + rows * size].reshape(rows, size)


def _in_lanes(lengths: np.ndarray, run) -> None:
    """Calls `run` on the rows of each lane, longest first, one lane a core."""
    longest_first = np.argsort(-lengths, kind="stable")
    lanes = [longest_first[lane::_cores].copy() for lane in range(_cores)]
    waiting = [_pool.submit(run, lane) for lane in lanes[1:] if len(lane)]
    if len(lanes[0]):
        run(lanes[0])
    for lane in waiting:
        lane.result()


@_compiled
def _gate_panels(kernel, recurrent_kernel, bias):
    """(units / LANES) panels (1 + input_dim + units, 4, LANES): bias, kernel, recurrent kernel."""
    input_dim, units = len(kernel), len(recurrent_kernel)
    depth = 1 + input_dim + units
    panels = np.empty(units // LANES * depth * 4 * LANES, np.float32)
    for k in range(depth):
        # Whole lines in, short runs out: the other way round would miss the cache at each line.
        if k == 0:
            line = bias
        elif k <= input_dim:
            line = kernel[k - 1]
        else:
            line = recurrent_kernel[k - 1 - input_dim]
        for gate in range(4):
            for block in range(units // LANES):
                column = gate * units + block * LANES
                place = ((block * depth + k) * 4 + gate) * LANES
                for lane in range(LANES):
                    panels[place + lane] = line[column + lane]
    return panels


@_compiled
def _transposed_panels(matrix):
    """Panels of 4 LANES columns of the transposed matrix, then of LANES: each (depth, columns)."""
    width, depth = matrix.shape
    panels = np.empty(depth * width, np.float32)
    for column in range(0, width, LANES):
        whole = column // (4 * LANES) * (4 * LANES)
        columns = 4 * LANES if width - whole >= 4 * LANES else LANES
        start = (whole if columns > LANES else column) * depth + (column - whole) % columns
        for block in range(0, depth, LANES):  # small squares stay in the cache
            for c in range(LANES):
                for k in range(block, block + LANES):
                    panels[start + k * columns + c] = matrix[column + c, k]
    return panels


@_compiled
def _step_places(rows, starts, lengths, step, reverse, at, before):
    """Positions of this step and of the one before it, for the rows that have it; their number."""
    active = 0
    while active < len(rows) and lengths[rows[active]] > step:
        row = rows[active]
        here = lengths[row] - 1 - step if reverse else step
        at[active] = starts[row] + here
        earlier = starts[row] + (here + 1 if reverse else here - 1)
        before[active] = row if step == 0 else earlier
        active += 1
    return active


@_compiled
def _forward_lane(
    rows, starts, lengths, reverse, inputs, input_dim, panels, units, hidden, cell,
    gates, hiddens, cells,
):  # fmt: skip
    at, before = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    size = (1 + input_dim + units) * 4 * LANES
    for step in range(lengths[rows[0]]):
        active = _step_places(rows, starts, lengths, step, reverse, at, before)
        old_hidden, old_cell = (hidden, cell) if step == 0 else (hiddens, cells)
        for block in range(units // LANES):
            panel, unit = block * size, block * LANES
            row = 0
            while row < active:
                if active - row >= MANY_ROWS:
                    _forward_many(
                        row, at, before, inputs, input_dim, old_hidden, old_cell, units, panels,
                        panel, unit, gates, hiddens, cells,
                    )  # fmt: skip
                    row += MANY_ROWS
                elif active >= SOME_ROWS:
                    # The last tile may do a row again that another has done: it is the same.
                    _forward_some(
                        min(row, active - SOME_ROWS), at, before, inputs, input_dim, old_hidden,
                        old_cell, units, panels, panel, unit, gates, hiddens, cells,
                    )  # fmt: skip
                    row += SOME_ROWS
                else:
                    _forward_one(
                        row, at, before, inputs, input_dim, old_hidden, old_cell, units, panels,
                        panel, unit, gates, hiddens, cells,
                    )  # fmt: skip
                    row += 1


@_compiled
def _backward_lane(
    rows, starts, lengths, reverse, panels, units, hidden, cell, gates, hiddens, cells, upstream,
    dhidden, dcell, sums, entering,
):  # fmt: skip
    at, before = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    for step in range(lengths[rows[0]] - 1, -1, -1):
        active = _step_places(rows, starts, lengths, step, reverse, at, before)
        old_hidden, old_cell = (hidden, cell) if step == 0 else (hiddens, cells)
        for row in range(active):
            here, old = at[row] * units, before[row] * units
            entering[here : here + units] = old_hidden[old : old + units]
            for unit in range(0, units, LANES):
                gate_gradients(
                    at[row], before[row], rows[row], units, unit, gates, cells, old_cell,
                    upstream, dhidden, dcell, sums,
                )  # fmt: skip
        _products(active, at, rows, sums, 4 * units, panels, units, dhidden)


@_compiled
def _products(active, at, rows, values, depth, panels, width, out):
    """out[rows] = values[at] @ matrix, its panels from `_transposed_panels`."""
    column = 0
    while column < width:
        row, panel = 0, column * depth
        wide = width - column >= 4 * LANES
        columns = 4 * LANES if wide else LANES
        while row < active:
            if active - row >= MANY_ROWS:
                if wide:
                    _wide_many(row, at, rows, values, depth, panels, panel, width, column, out)
                else:
                    _thin_many(row, at, rows, values, depth, panels, panel, width, column, out)
                row += MANY_ROWS
            elif active >= SOME_ROWS:
                first = min(row, active - SOME_ROWS)
                if wide:
                    _wide_some(first, at, rows, values, depth, panels, panel, width, column, out)
                else:
                    _thin_some(first, at, rows, values, depth, panels, panel, width, column, out)
                row += SOME_ROWS
            else:
                if wide:
                    _wide_one(row, at, rows, values, depth, panels, panel, width, column, out)
                else:
                    _thin_one(row, at, rows, values, depth, panels, panel, width, column, out)
                row += 1
        column += columns
