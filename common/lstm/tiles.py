"""Inner loops of the LSTM on a CPU as vector instructions, to be called from compiled Python.

A tile is a few rows (sequences) by a vector of units. Its sums stay in registers from the first
product to the new state: `forward_tile` multiplies, applies the gates and stores; nothing of the
step passes through memory in between. Weights come packed in panels, so that the loops read them
in order. Arrays are as in `common.lstm.vectors`; `units` is a multiple of `LANES` everywhere here.
"""

import numpy as np
from numba import types
from numba.extending import intrinsic

from common.lstm.vectors import INT64, LANES, WIDE, Code, compiled

# The sums of one tile fill most of the vector registers: 6 rows x 4 gates of AVX-512's 32.
MANY_ROWS, SOME_ROWS = (6, 3) if WIDE else (3, 2)


def make_forward_tile(num_rows: int):
    """`tile(first, at, projected, slot, hidden, cell, panels, panel, unit, units, ...)`.

    One step of `num_rows` sequences, from the row `first` on, and LANES units, from `unit` on.
    Reads what the inputs and the bias add to the sums, rows slot + first of (n, units / LANES, 4,
    LANES), the old states of the rows (rows, units), and one panel (units, 4, LANES) of the
    recurrent kernel. Writes the new states of the rows, and at positions at[first:] the gates
    (n, 4, units; i, f, candidate, o) and the new states once more; a position is as wide as the
    number behind each array says.
    """

    @intrinsic
    def tile(
        typing, first, at, projected, slot, hidden, cell, panels, panel, unit, units,
        new_hidden, new_cell, gates, gate_width, hiddens, width, cells, cell_width,
    ):  # fmt: skip
        signature = types.void(
            first, at, projected, slot, hidden, cell, panels, panel, unit, units,
            new_hidden, new_cell, gates, gate_width, hiddens, width, cells, cell_width,
        )  # fmt: skip

        def generate(context, builder, signature, arguments):
            code = Code(context, builder, signature, arguments)
            with code.apart("forward_tile") as builder:
                (first, at, projected, slot, hidden, cell, panels, panel, unit, units,
                 new_hidden, new_cell, gates, gate_width, hiddens, width, cells,
                 cell_width) = code.values  # fmt: skip
                mul, add, four = builder.mul, builder.add, INT64(4)
                numbers = [add(first, INT64(m)) for m in range(num_rows)]
                places = [builder.load(code.at(at, number)) for number in numbers]
                rows = [mul(number, units) for number in numbers]
                lines = [mul(add(slot, number), mul(units, four)) for number in numbers]
                sums = code.add_products(
                    [
                        [code.load(projected, line, mul(unit, four), v * LANES) for v in range(4)]
                        for line in lines
                    ],
                    [code.at(hidden, row) for row in rows],
                    code.at(panels, panel),
                    units,
                )
                for row, place, (i, f, g, o) in zip(rows, places, sums, strict=True):
                    i, f, g, o = code.sigmoid(i), code.sigmoid(f), code.tanh(g), code.sigmoid(o)
                    c = code.call("fma", i, g, builder.fmul(f, code.load(cell, row, unit)))
                    h = builder.fmul(o, code.tanh(c))
                    for number, gate in enumerate((i, f, g, o)):
                        block = mul(units, INT64(number))
                        code.store(gate, gates, mul(place, gate_width), block, unit)
                    code.store(c, new_cell, row, unit)
                    code.store(h, new_hidden, row, unit)
                    code.store(c, cells, mul(place, cell_width), unit)
                    code.store(h, hiddens, mul(place, width), unit)
            return context.get_dummy_value()

        return signature, generate

    return tile


def make_product_tile(num_rows: int, num_vectors: int):
    """`tile(first, at, rows, values, depth, panels, panel, bias, width, column, out)`.

    out[rows[first + m], column:] = values[at[first + m]] @ panel + bias[column:] for m < num_rows;
    values (n, depth), panel (depth, num_vectors, LANES), out (k, width).
    """

    @intrinsic
    def tile(typing, first, at, rows, values, depth, panels, panel, bias, width, column, out):
        signature = types.void(
            first, at, rows, values, depth, panels, panel, bias, width, column, out
        )

        def generate(context, builder, signature, arguments):
            code = Code(context, builder, signature, arguments)
            with code.apart("product_tile") as builder:
                first, at, rows, values, depth, panels, panel, bias, width, column, out = (
                    code.values
                )
                places = [builder.load(code.at(at, first, m)) for m in range(num_rows)]
                begin = [code.load(bias, column, v * LANES) for v in range(num_vectors)]
                sums = code.add_products(
                    [begin] * num_rows,
                    [code.at(values, builder.mul(place, depth)) for place in places],
                    code.at(panels, panel),
                    depth,
                )
                for m, row in enumerate(sums):
                    target = builder.mul(builder.load(code.at(rows, first, m)), width)
                    for v, vector in enumerate(row):
                        code.store(vector, out, target, column, v * LANES)
            return context.get_dummy_value()

        return signature, generate

    return tile


@intrinsic
def gate_gradients(
    typing, place, old, row, width, unit, units, gates, cell, old_cell, upstream, dhidden, dcell,
    out,
):  # fmt: skip
    """Gradients at the sums of one step and sequence, for LANES units from `unit` on.

    Reads gates (n, 4, units) and cell (n, units) at `place`, the cell state before (m, units) at
    `old`, the gradient at the output (n, units) at `place`, and what came back from later steps:
    dhidden and dcell (batch, units) at `row`; a position is `width` numbers wide in all of them,
    four times that in gates. Writes out (n, 4 units), without gaps, at `place`, and dcell.
    """
    signature = types.void(
        place, old, row, width, unit, units, gates, cell, old_cell, upstream, dhidden, dcell, out
    )

    def generate(context, builder, signature, arguments):
        code = Code(context, builder, signature, arguments)
        with code.apart("gate_gradients") as builder:
            (place, old, row, width, unit, units, gates, cell, old_cell, upstream, dhidden, dcell,
             out) = code.values  # fmt: skip
            one, mul, sub = code.splat(1.0), builder.fmul, builder.fsub
            here, mine = builder.mul(place, width), builder.mul(row, width)
            blocks = [builder.mul(units, INT64(number)) for number in range(4)]
            line = builder.mul(here, INT64(4))
            i, f, g, o = (code.load(gates, line, block, unit) for block in blocks)
            squashed = code.tanh(code.load(cell, here, unit))
            before = code.load(old_cell, builder.mul(old, width), unit)
            dh = builder.fadd(code.load(upstream, here, unit), code.load(dhidden, mine, unit))
            slope = mul(o, sub(one, mul(squashed, squashed)))
            dc = code.call("fma", dh, slope, code.load(dcell, mine, unit))
            gradients = (
                mul(mul(dc, g), mul(i, sub(one, i))),
                mul(mul(dc, before), mul(f, sub(one, f))),
                mul(mul(dc, i), sub(one, mul(g, g))),
                mul(mul(dh, squashed), mul(o, sub(one, o))),
            )
            line = builder.mul(place, builder.mul(units, INT64(4)))
            for block, gradient in zip(blocks, gradients, strict=True):
                code.store(gradient, out, line, block, unit)
            code.store(mul(dc, f), dcell, mine, unit)
        return context.get_dummy_value()

    return signature, generate


@compiled
def gate_panels(kernel):
    """(units / LANES) panels (depth, 4, LANES) of a kernel (depth, 4 units), or of a bias."""
    units = kernel.shape[-1] // 4
    kernel = kernel.reshape(-1, 4 * units)
    depth = len(kernel)
    panels = np.empty(depth * 4 * units, np.float32)
    for k in range(depth):
        # Whole lines in, short runs out: the other way round would miss the cache at each line.
        for gate in range(4):
            for block in range(units // LANES):
                column = gate * units + block * LANES
                place = ((block * depth + k) * 4 + gate) * LANES
                for lane in range(LANES):
                    panels[place + lane] = kernel[k, column + lane]
    return panels


@compiled
def transposed_panels(matrix):
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
