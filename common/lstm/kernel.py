"""The LSTM over packed sequences on a CPU, forward and backward, compiled to machine code.

Packed: the real steps of all sequences one after the other, (steps, size); sequence b holds
`lengths[b]` rows from `starts[b]` on. Padding does not exist here, so time and memory grow with
the real steps alone. Within a step the rows are independent: each thread takes some sequences
through all their steps, and threads never wait for each other.
"""

# A function made of instructions is given its typing context by the compiler, not by its caller.
# pyright: reportCallIssue=false

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from common.lstm import tiles
from common.lstm.tiles import MANY_ROWS, SOME_ROWS, gate_gradients, gate_panels, transposed_panels
from common.lstm.vectors import LANES, compiled
from common.runs.directory import cpu_count

_forward_many, _forward_some, _forward_one = (
    tiles.make_forward_tile(rows) for rows in (MANY_ROWS, SOME_ROWS, 1)
)
_wide_many, _wide_some, _wide_one = (
    tiles.make_product_tile(rows, 4) for rows in (MANY_ROWS, SOME_ROWS, 1)
)
_thin_many, _thin_some, _thin_one = (
    tiles.make_product_tile(rows, 1) for rows in (MANY_ROWS, SOME_ROWS, 1)
)
_cores = cpu_count()
_pool = ThreadPoolExecutor(max(1, _cores - 1), thread_name_prefix="lstm")


def forward(projected, starts, lengths, recurrent_kernels, hidden, cell, *, reverses):
    """Runs all sequences, in one direction or in both.

    Args:
        projected: float32 (steps, directions * 4 units), packed: what the inputs and the bias add
            to the sums of the gates, for each direction in blocks i, f, candidate, o; `units` a
            multiple of LANES.
        starts, lengths: int64 (batch,).
        recurrent_kernels: float32 (directions, units, 4 units).
        hidden, cell: float32 (batch, directions * units), the states at the start.
        reverses: for each direction, whether it goes from the last step to the first.

    Returns:
        gates (steps, directions * 4 units), hidden and cell states (steps, directions * units),
        packed; the last hidden and cell states (batch, directions * units), in a sequence without
        steps those of the start.
    """
    num_steps, width, units = len(projected), hidden.shape[1], recurrent_kernels.shape[1]
    gates = _empty(num_steps, 4 * width)
    hiddens, cells = _empty(num_steps, width), _empty(num_steps, width)
    last_hidden, last_cell = hidden.copy(), cell.copy()
    some = lengths > 0

    def run(direction, rows):
        def of(values, size=units):
            return values.reshape(-1)[direction * size :]

        _forward_lane(
            rows, starts, lengths, reverses[direction], of(projected, 4 * units),
            panels[direction], units, width, of(hidden), of(cell),
            of(gates, 4 * units), of(hiddens), of(cells),
        )  # fmt: skip

    panels = [gate_panels(kernel) for kernel in recurrent_kernels]
    _in_lanes(lengths, len(reverses), run)
    for direction, reverse in enumerate(reverses):
        last = (starts if reverse else starts + lengths - 1)[some]
        mine = slice(direction * units, (direction + 1) * units)
        last_hidden[some, mine], last_cell[some, mine] = hiddens[last, mine], cells[last, mine]
    return gates, hiddens, cells, last_hidden, last_cell


def backward(starts, lengths, recurrent_kernels, hidden, cell, gates, hiddens, cells, upstream,
             last_hidden, last_cell, *, reverses):  # fmt: skip
    """Runs all sequences back.

    Args:
        starts, lengths, recurrent_kernels, hidden, cell, reverses: as in `forward`.
        gates, hiddens, cells: what `forward` gave.
        upstream: float32 (steps, directions * units), gradient at `hiddens`.
        last_hidden, last_cell: float32 (batch, directions * units), gradient at the states after
            the last step.

    Returns:
        gradients at `hidden` and `cell` (batch, directions * units); then for each direction the
        gradient at the sums (steps, 4 units) and the hidden state before each step (steps, units),
        which the recurrent kernel met.
    """
    num_steps, width, units = len(hiddens), hidden.shape[1], recurrent_kernels.shape[1]
    dhidden, dcell = last_hidden.copy(), last_cell.copy()
    sums = [_empty(num_steps, 4 * units) for _ in reverses]
    entering = [_empty(num_steps, units) for _ in reverses]

    def run(direction, rows):
        def of(values, size=units):
            return values.reshape(-1)[direction * size :]

        _backward_lane(
            rows, starts, lengths, reverses[direction], panels[direction], units, width,
            of(hidden), of(cell), of(gates, 4 * units), of(hiddens), of(cells), of(upstream),
            of(dhidden), of(dcell), sums[direction].reshape(-1), entering[direction].reshape(-1),
        )  # fmt: skip

    panels = [transposed_panels(kernel) for kernel in recurrent_kernels]
    _in_lanes(lengths, len(reverses), run)
    return dhidden, dcell, *(both for pair in zip(sums, entering, strict=True) for both in pair)


def _empty(rows: int, size: int) -> np.ndarray:
    """An array that TensorFlow can take without a copy: it begins at a multiple of 64 bytes."""
    room = np.empty(rows * size + 16, np.float32)
    first = -(room.ctypes.data // 4) % 16
    return room[first : first + rows * size].reshape(rows, size)


def _in_lanes(lengths: np.ndarray, num_directions: int, run) -> None:
    """Calls `run(direction, rows)` for all rows, longest first, with as much for each core."""
    # Directions are equally long: where they can, they get cores of their own, so that a core
    # reads the weights of one direction alone.
    num_lanes = _cores if _cores % num_directions else _cores // num_directions
    longest_first = np.argsort(-lengths, kind="stable")
    jobs = [
        (direction, longest_first[lane::num_lanes].copy())
        for direction in range(num_directions)
        for lane in range(min(num_lanes, len(lengths)))
    ]

    def work(core):
        for direction, rows in jobs[core::_cores]:
            run(direction, rows)

    waiting = [_pool.submit(work, core) for core in range(1, min(_cores, len(jobs)))]
    work(0)
    for core in waiting:
        core.result()


@compiled
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


@compiled
def _forward_lane(
    rows, starts, lengths, reverse, projected, panels, units, width, hidden, cell,
    gates, hiddens, cells,
):  # fmt: skip
    at, before = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    for step in range(lengths[rows[0]]):
        active = _step_places(rows, starts, lengths, step, reverse, at, before)
        old_hidden, old_cell = (hidden, cell) if step == 0 else (hiddens, cells)
        for unit in range(0, units, LANES):
            panel = unit * units * 4
            row = 0
            while row < active:
                if active - row >= MANY_ROWS:
                    _forward_many(
                        row, at, before, projected, old_hidden, old_cell, width, panels, panel,
                        unit, units, gates, hiddens, cells,
                    )  # fmt: skip
                    row += MANY_ROWS
                elif active >= SOME_ROWS:
                    # The last tile may do a row again that another has done: it is the same.
                    _forward_some(
                        min(row, active - SOME_ROWS), at, before, projected, old_hidden, old_cell,
                        width, panels, panel, unit, units, gates, hiddens, cells,
                    )  # fmt: skip
                    row += SOME_ROWS
                else:
                    _forward_one(
                        row, at, before, projected, old_hidden, old_cell, width, panels, panel,
                        unit, units, gates, hiddens, cells,
                    )  # fmt: skip
                    row += 1


@compiled
def _backward_lane(
    rows, starts, lengths, reverse, panels, units, width, hidden, cell, gates, hiddens, cells,
    upstream, dhidden, dcell, sums, entering,
):  # fmt: skip
    at, before = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    for step in range(lengths[rows[0]] - 1, -1, -1):
        active = _step_places(rows, starts, lengths, step, reverse, at, before)
        old_hidden, old_cell = (hidden, cell) if step == 0 else (hiddens, cells)
        for row in range(active):
            here, old = at[row] * units, before[row] * width
            entering[here : here + units] = old_hidden[old : old + units]
            for unit in range(0, units, LANES):
                gate_gradients(
                    at[row], before[row], rows[row], width, unit, units, gates, cells, old_cell,
                    upstream, dhidden, dcell, sums,
                )  # fmt: skip
        _products(active, at, rows, sums, 4 * units, panels, units, width, dhidden)


@compiled
def _products(active, at, rows, values, depth, panels, units, width, out):
    """out[rows, :units] = values[at] @ matrix, its panels from `transposed_panels`."""
    column = 0
    while column < units:
        row, panel = 0, column * depth
        wide = units - column >= 4 * LANES
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
