"""Inner loops of the LSTM on a CPU as vector instructions, to be called from compiled Python.

A tile is a few rows (sequences) by a vector of units. Its sums stay in registers from the first
product to the new state: `forward_tile` multiplies, applies the gates and stores; nothing of the
step passes through memory in between. Weights come packed in panels, so that the loops read them
in order. LLVM turns the vectors below into AVX-512, AVX2 or NEON, whatever the machine has.

Arrays are flat, without gaps (no strides are read) and float32, positions int64; `units` is a
multiple of `LANES` everywhere here. Nothing checks positions.
"""

from itertools import chain

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# The sums of one tile fill most of the vector registers: 6 rows x 4 gates of AVX-512's 32.
_WIDE = llvm.get_host_cpu_features().get("avx512f", False)
LANES = 16 if _WIDE else 8
MANY_ROWS, SOME_ROWS = (6, 3) if _WIDE else (3, 2)

_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR, _INTEGERS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_INT32, LANES)


class _Code:
    """Writes vector instructions into the function that numba is compiling."""

    def __init__(self, context, builder, signature, arguments):
        self.builder = builder
        self.values = []
        for kind, value in zip(signature.args, arguments, strict=True):
            if isinstance(kind, types.Array):
                value = context.make_array(kind)(context, builder, value).data
            self.values.append(value)

    def at(self, pointer, *places):
        """Address of the element at the sum of `places`."""
        for place in places:
            place = _INT64(place) if isinstance(place, int) else place
            pointer = self.builder.gep(pointer, [place])
        return pointer

    def load(self, pointer, *places):
        """A vector from `places` on."""
        where = self.at(pointer, *places)
        found = self.builder.load(self.builder.bitcast(where, _VECTOR.as_pointer()))
        found.align = 4
        return found

    def store(self, vector, pointer, *places):
        """Puts a vector from `places` on."""
        where = self.at(pointer, *places)
        self.builder.store(vector, self.builder.bitcast(where, _VECTOR.as_pointer())).align = 4

    def splat(self, value: float):
        """The same number in every lane."""
        return ir.Constant(_VECTOR, [value] * LANES)

    def call(self, name: str, *vectors):
        """An LLVM intrinsic on vectors, e.g. fma."""
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(vectors))
        module = self.builder.function.module
        function = cgutils.get_or_insert_function(module, kind, f"llvm.{name}.v{LANES}f32")
        return self.builder.call(function, vectors)

    def add_products(self, sums, rows, panel, depth):
        """sums[m][v] += rows[m][k] * panel[k, v] over k < depth (at least 1); new sums."""
        build, before = self.builder, self.builder.block
        loop, end = (build.function.append_basic_block(name) for name in ("products", "then"))
        build.branch(loop)
        build.position_at_end(loop)
        k = build.phi(_INT64)
        k.add_incoming(_INT64(0), before)
        phis = [[build.phi(_VECTOR) for _ in row] for row in sums]
        for phi, value in zip(chain(*phis), chain(*sums), strict=True):
            phi.add_incoming(value, before)
        width = len(sums[0])
        line = self.at(panel, build.mul(k, _INT64(width * LANES)))
        weights = [self.load(line, v * LANES) for v in range(width)]
        after = []
        for row, phi in zip(rows, phis, strict=True):
            one = build.insert_element(
                ir.Constant(_VECTOR, ir.Undefined), build.load(self.at(row, k)), _INT32(0)
            )
            mask = ir.Constant(_INTEGERS, [0] * LANES)
            factor = build.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), mask)
            after.append(
                [self.call("fma", factor, *pair) for pair in zip(weights, phi, strict=True)]
            )
        following = build.add(k, _INT64(1))
        k.add_incoming(following, loop)
        for phi, value in zip(chain(*phis), chain(*after), strict=True):
            phi.add_incoming(value, loop)
        build.cbranch(build.icmp_signed("<", following, depth), loop, end)
        build.position_at_end(end)
        return after

    def exp(self, vector):
        """e^x to 2 units in the last place: e^x = 2^n e^r, |r| <= ln 2 / 2, e^r by its series."""
        build = self.builder
        low, high = self.splat(-87.0), self.splat(87.0)
        bounded = self.call("maxnum", self.call("minnum", vector, high), low)
        n = self.call("rint", build.fmul(bounded, self.splat(1.4426950408889634)))
        # ln 2 in two parts, the first exact in few bits: n * ln 2 would lose the digits of r.
        rest = self.call("fma", n, self.splat(-0.693359375), bounded)
        rest = self.call("fma", n, self.splat(2.12194440e-4), rest)
        series = self.splat(1 / 5040)
        for term in (1 / 720, 1 / 120, 1 / 24, 1 / 6, 0.5, 1.0, 1.0):
            series = self.call("fma", series, rest, self.splat(term))
        exponent = build.add(build.fptosi(n, _INTEGERS), ir.Constant(_INTEGERS, [127] * LANES))
        power = build.shl(exponent, ir.Constant(_INTEGERS, [23] * LANES))
        found = build.fmul(series, build.bitcast(power, _VECTOR))
        # The bounds have made a number of NaN; a training that diverges must be seen to.
        return build.select(build.fcmp_unordered("uno", vector, vector), vector, found)

    def sigmoid(self, vector):
        """1 / (1 + e^-x)."""
        one = self.splat(1.0)
        return self.builder.fdiv(one, self.builder.fadd(one, self.exp(self.builder.fneg(vector))))

    def tanh(self, vector):
        """1 - 2 / (1 + e^2x)."""
        build, one = self.builder, self.splat(1.0)
        fraction = build.fdiv(
            self.splat(2.0), build.fadd(one, self.exp(build.fadd(vector, vector)))
        )
        return build.fsub(one, fraction)


def make_forward_tile(num_rows: int):
    """`tile(first, at, before, inputs, input_dim, hidden, cell, units, panel, unit, gates, ...)`.

    One step of `num_rows` sequences and LANES units, from `unit` on: reads the inputs (n,
    input_dim) at positions at[first:], the old states (m, units) at positions before[first:], and
    one panel (1 + input_dim + units, 4, LANES): bias, kernel, recurrent kernel. Writes at
    positions at[first:] the gates (n, 4, units; i, f, candidate, o) and the new states (n, units).
    """

    @intrinsic
    def tile(
        typing, first, at, before, inputs, input_dim, hidden, cell, units, panels, panel, unit,
        gates, new_hidden, new_cell,
    ):  # fmt: skip
        signature = types.void(
            first, at, before, inputs, input_dim, hidden, cell, units, panels, panel, unit,
            gates, new_hidden, new_cell,
        )  # fmt: skip

        def generate(context, builder, signature, arguments):
            code = _Code(context, builder, signature, arguments)
            (first, at, before, inputs, input_dim, hidden, cell, units, panels, panel, unit,
             gates, new_hidden, new_cell) = code.values  # fmt: skip
            places = [builder.load(code.at(at, first, m)) for m in range(num_rows)]
            earlier = [builder.load(code.at(before, first, m)) for m in range(num_rows)]
            line = code.at(panels, panel)
            bias = [code.load(line, v * LANES) for v in range(4)]
            kernel = code.at(line, 4 * LANES)
            sums = code.add_products(
                [bias] * num_rows,
                [code.at(inputs, builder.mul(place, input_dim)) for place in places],
                kernel,
                input_dim,
            )
            sums = code.add_products(
                sums,
                [code.at(hidden, builder.mul(place, units)) for place in earlier],
                code.at(kernel, builder.mul(input_dim, _INT64(4 * LANES))),
                units,
            )
            for place, old, (i, f, g, o) in zip(places, earlier, sums, strict=True):
                i, f, g, o = code.sigmoid(i), code.sigmoid(f), code.tanh(g), code.sigmoid(o)
                kept = builder.fmul(f, code.load(cell, builder.mul(old, units), unit))
                c = code.call("fma", i, g, kept)
                row = builder.mul(place, units)
                for number, gate in enumerate((i, f, g, o)):
                    block = builder.mul(units, _INT64(number))
                    code.store(gate, gates, builder.mul(row, _INT64(4)), block, unit)
                code.store(c, new_cell, row, unit)
                code.store(builder.fmul(o, code.tanh(c)), new_hidden, row, unit)
            return context.get_dummy_value()

        return signature, generate

    return tile


def make_product_tile(num_rows: int, num_vectors: int):
    """`tile(first, at, rows, values, depth, panels, panel, width, column, out)`.

    out[rows[first + m], column:] = values[at[first + m]] @ panel for m < num_rows; values (n,
    depth), panel (depth, num_vectors, LANES), out (k, width).
    """

    @intrinsic
    def tile(typing, first, at, rows, values, depth, panels, panel, width, column, out):
        signature = types.void(first, at, rows, values, depth, panels, panel, width, column, out)

        def generate(context, builder, signature, arguments):
            code = _Code(context, builder, signature, arguments)
            first, at, rows, values, depth, panels, panel, width, column, out = code.values
            places = [builder.load(code.at(at, first, m)) for m in range(num_rows)]
            sums = code.add_products(
                [[code.splat(0.0)] * num_vectors for _ in range(num_rows)],
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
    typing, place, old, row, units, unit, gates, cell, old_cell, upstream, dhidden, dcell, out
):
    """Gradients at the sums of one step and sequence, for LANES units from `unit` on.

    Reads gates (n, 4, units) and cell (n, units) at `place`, the cell state before (m, units) at
    `old`, the gradient at the output (n, units) at `place`, and what came back from later steps:
    dhidden and dcell (batch, units) at `row`. Writes out (n, 4, units) at `place`, and dcell.
    """
    signature = types.void(
        place, old, row, units, unit, gates, cell, old_cell, upstream, dhidden, dcell, out
    )

    def generate(context, builder, signature, arguments):
        code = _Code(context, builder, signature, arguments)
        place, old, row, units, unit, gates, cell, old_cell, upstream, dhidden, dcell, out = (
            code.values
        )
        one, mul, sub = code.splat(1.0), builder.fmul, builder.fsub
        here, mine = builder.mul(place, units), builder.mul(row, units)
        blocks = [
            (builder.mul(here, _INT64(4)), builder.mul(units, _INT64(number)), unit)
            for number in range(4)
        ]
        i, f, g, o = (code.load(gates, *block) for block in blocks)
        squashed = code.tanh(code.load(cell, here, unit))
        before = code.load(old_cell, builder.mul(old, units), unit)
        dh = builder.fadd(code.load(upstream, here, unit), code.load(dhidden, mine, unit))
        slope = mul(o, sub(one, mul(squashed, squashed)))
        dc = code.call("fma", dh, slope, code.load(dcell, mine, unit))
        gradients = (
            mul(mul(dc, g), mul(i, sub(one, i))),
            mul(mul(dc, before), mul(f, sub(one, f))),
            mul(mul(dc, i), sub(one, mul(g, g))),
            mul(mul(dh, squashed), mul(o, sub(one, o))),
        )
        for block, gradient in zip(blocks, gradients, strict=True):
            code.store(gradient, out, *block)
        code.store(mul(dc, f), dcell, mine, unit)
        return context.get_dummy_value()

    return signature, generate
