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
PROJECTED = 2**16  # numbers, a quarter of a MiB: what the inputs add, for some steps of a core
WORTH_A_THREAD = 2**18  # numbers: of fewer, one core makes the panels before another is awake
_cores = cpu_count()
_pool = ThreadPoolExecutor(max(1, _cores - 1), thread_name_prefix="lstm")


def forward(inputs, starts, lengths, hidden, cell, *weights, reverses):
    """Runs all sequences, in one direction or in both.

    Args:
        inputs: float32 (steps, input_dim), packed.
        starts, lengths: int64 (batch,).
        hidden, cell: float32 (batch, directions * units), the states at the start; `units` a
            multiple of LANES.
        weights: float32, for each direction kernel (input_dim, 4 units), recurrent kernel (units,
            4 units) and bias (4 units,), the gates in the order i, f, candidate, o.
        reverses: for each direction, whether it goes from the last step to the first.

    Returns:
        gates (steps, directions * 4 units), hidden and cell states (steps, directions * units),
        packed; the last hidden and cell states (batch, directions * units), in a sequence without
        steps those of the start.
    """
    width = hidden.shape[1]
    gates, cells = _empty(len(inputs), 4 * width), _empty(len(inputs), width)
    kept = gates, 4 * width, cells, width
    results = _forward(inputs, starts, lengths, hidden, cell, kept, weights, reverses)
    return gates, results[0], cells, *results[1:]


def infer(inputs, starts, lengths, hidden, cell, *weights, reverses):
    """As `forward`, for no gradient: hidden states, last hidden and last cell states alone."""
    return _forward(inputs, starts, lengths, hidden, cell, None, weights, reverses)


def _forward(inputs, starts, lengths, hidden, cell, kept, weights, reverses):
    width, units = hidden.shape[1], len(weights[1])
    hiddens = _empty(len(inputs), width)
    last_hidden, last_cell = hidden.copy(), cell.copy()
    panels = _make_panels(gate_panels, weights)
    flat_inputs, depth = inputs.reshape(-1), inputs.shape[1]

    def run(direction, rows):
        def of(values, size=units):
            return values.reshape(-1)[direction * size :]

        if kept is None:  # everything to one place, which stays in the cache
            of_kept = np.empty(4 * units, np.float32), 0, np.empty(units, np.float32), 0
        else:
            gates, gate_width, cells, cell_width = kept
            of_kept = of(gates, 4 * units), gate_width, of(cells), cell_width
        _forward_lane(
            rows, starts, lengths, reverses[direction], flat_inputs, depth,
            *panels[3 * direction :][:3], units, width, of(hidden), of(cell),
            *of_kept, of(hiddens), of(last_hidden), of(last_cell),
        )  # fmt: skip

    _in_lanes(lengths, len(reverses), run)
    return hiddens, last_hidden, last_cell


def backward(starts, lengths, hidden, cell, gates, hiddens, cells, upstream, last_hidden, last_cell,
             *recurrent_kernels, reverses):  # fmt: skip
    """Runs all sequences back.

    Args:
        starts, lengths, hidden, cell, recurrent_kernels, reverses: as in `forward`.
        gates, hiddens, cells: what `forward` gave.
        upstream: float32 (steps, directions * units), gradient at `hiddens`.
        last_hidden, last_cell: float32 (batch, directions * units), gradient at the states after
            the last step.

    Returns:
        gradients at `hidden` and `cell` (batch, directions * units); then for each direction the
        gradient at the sums (steps, 4 units) and the hidden state before each step (steps, units),
        which the recurrent kernel met.
    """
    num_steps, width, units = len(hiddens), hidden.shape[1], len(recurrent_kernels[0])
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

    panels = _make_panels(transposed_panels, recurrent_kernels)
    _in_lanes(lengths, len(reverses), run)
    return dhidden, dcell, *(both for pair in zip(sums, entering, strict=True) for both in pair)


def _make_panels(make, matrices) -> list:
    jobs = [lambda matrix=matrix: make(matrix) for matrix in matrices]
    is_large = sum(matrix.size for matrix in matrices) > WORTH_A_THREAD
    return _at_once(jobs) if is_large else [job() for job in jobs]


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

    _at_once([lambda job=job: run(*job) for job in jobs])


def _at_once(jobs: list) -> list:
    """What the jobs give; job n runs on core n, job cores + n after it."""
    results = [None] * len(jobs)

    def work(core):
        for number in range(core, len(jobs), _cores):
            results[number] = jobs[number]()

    waiting = [_pool.submit(work, core) for core in range(1, min(_cores, len(jobs)))]
    work(0)
    for core in waiting:
        core.result()
    return results


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
    rows, starts, lengths, reverse, inputs, depth, input_panels, panels, bias, units, width,
    hidden, cell, gates, gate_width, cells, cell_width, hiddens, last_hidden, last_cell,
):  # fmt: skip
    # What the inputs add is made for some steps at a time: it is read again while it is near.
    count, num_steps = len(rows), lengths[rows[0]]
    most = max(1, PROJECTED // (4 * units * count))
    at, before = np.empty(most * count, np.int64), np.empty(most * count, np.int64)
    slots = np.arange(most * count)
    projected = np.empty(len(slots) * 4 * units, np.float32)
    # The states of the rows, side by side; of a step and of the next in turn, for the last tile may
    # do a row again that another has done.
    size = count * units
    old_hidden, new_hidden = np.empty(size, np.float32), np.empty(size, np.float32)
    old_cell, new_cell = np.empty(size, np.float32), np.empty(size, np.float32)
    for number in range(count):
        here, there = number * units, rows[number] * width
        old_hidden[here : here + units] = hidden[there : there + units]
        old_cell[here : here + units] = cell[there : there + units]
    slot = known = 0
    for step in range(num_steps):
        if slot == known:
            slot = known = 0
            for later in range(step, min(step + most, num_steps)):
                known += _step_places(
                    rows, starts, lengths, later, reverse, at[known:], before[known:]
                )
            _products(
                known, at, slots, inputs, depth, input_panels, bias, 4 * units, 4 * units,
                projected,
            )  # fmt: skip
        active = 0
        while active < count and lengths[rows[active]] > step:
            active += 1
        places = at[slot:]
        for unit in range(0, units, LANES):
            panel = unit * units * 4
            row = 0
            while row < active:
                if active - row >= MANY_ROWS:
                    _forward_many(
                        row, places, projected, slot, old_hidden, old_cell, panels, panel, unit,
                        units, new_hidden, new_cell, gates, gate_width, hiddens, width,
                        cells, cell_width,
                    )  # fmt: skip
                    row += MANY_ROWS
                elif active >= SOME_ROWS:
                    _forward_some(
                        min(row, active - SOME_ROWS), places, projected, slot, old_hidden,
                        old_cell, panels, panel, unit, units, new_hidden, new_cell, gates,
                        gate_width, hiddens, width, cells, cell_width,
                    )  # fmt: skip
                    row += SOME_ROWS
                else:
                    _forward_one(
                        row, places, projected, slot, old_hidden, old_cell, panels, panel, unit,
                        units, new_hidden, new_cell, gates, gate_width, hiddens, width,
                        cells, cell_width,
                    )  # fmt: skip
                    row += 1
        for row in range(active):
            if lengths[rows[row]] == step + 1:
                end = rows[row] * width
                here = places[row] * width
                last_hidden[end : end + units] = hiddens[here : here + units]
                last_cell[end : end + units] = new_cell[row * units : (row + 1) * units]
        slot += active
        old_hidden, new_hidden = new_hidden, old_hidden
        old_cell, new_cell = new_cell, old_cell


@compiled
def _backward_lane(
    rows, starts, lengths, reverse, panels, units, width, hidden, cell, gates, hiddens, cells,
    upstream, dhidden, dcell, sums, entering,
):  # fmt: skip
    at, before = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    zeros = np.zeros(units, np.float32)
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
        _products(active, at, rows, sums, 4 * units, panels, zeros, units, width, dhidden)


@compiled
def _products(active, at, rows, values, depth, panels, bias, size, width, out):
    """out[rows, :size] = values[at] @ matrix + bias; panels of 4 LANES columns, then of LANES."""
    column = 0
    while column < size:
        row, panel = 0, column * depth
        wide = size - column >= 4 * LANES
        columns = 4 * LANES if wide else LANES
        while row < active:
            if active - row >= MANY_ROWS:
                if wide:
                    _wide_many(
                        row, at, rows, values, depth, panels, panel, bias, width, column, out
                    )
                else:
                    _thin_many(
                        row, at, rows, values, depth, panels, panel, bias, width, column, out
                    )
                row += MANY_ROWS
            elif active >= SOME_ROWS:
                first = min(row, active - SOME_ROWS)
                if wide:
                    _wide_some(
                        first, at, rows, values, depth, panels, panel, bias, width, column, out
                    )
                else:
                    _thin_some(
                        first, at, rows, values, depth, panels, panel, bias, width, column, out
                    )
                row += SOME_ROWS
            else:
                if wide:
                    _wide_one(row, at, rows, values, depth, panels, panel, bias, width, column, out)
                else:
                    _thin_one(row, at, rows, values, depth, panels, panel, bias, width, column, out)
                row += 1
        column += columns
