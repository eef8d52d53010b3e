"""Vector instructions for compiled Python: LLVM code that numba puts into its own.

LLVM turns the vectors below into AVX-512, AVX2 or NEON, whatever the machine has. Arrays are flat,
without gaps (no strides are read) and float32, positions int64. Nothing checks positions.
"""

import contextlib
import hashlib
from itertools import chain
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils

WIDE = llvm.get_host_cpu_features().get("avx512f", False)
LANES = 16 if WIDE else 8
INT64 = ir.IntType(64)
_FLOAT, _INT32 = ir.FloatType(), ir.IntType(32)
_VECTOR, _INTEGERS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_INT32, LANES)
_sources = (Path(__file__), Path(__file__).with_name("tiles.py"))
_digest = hashlib.sha256(b"".join(path.read_bytes() for path in _sources)).hexdigest()[:12]


def compiled(function):
    """As `numba.njit`, without the interpreter's lock, and kept on disk if that can be written."""
    # numba looks at the function's own file alone: without the digest in the name, a change of
    # the code that it takes in from elsewhere would leave the old machine code in use.
    function.__qualname__ += f"_{_digest}_{LANES}"
    try:
        return njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # neither the folder of the code nor that of the user
        return njit(nogil=True, error_model="numpy")(function)


class Code:
    """Writes vector instructions into the function that numba is compiling."""

    def __init__(self, context, builder, signature, arguments):
        self.builder: Any = builder  # of LLVM's instructions llvmlite's types say little
        self.values = []
        for kind, value in zip(signature.args, arguments, strict=True):
            if isinstance(kind, types.Array):
                value = context.make_array(kind)(context, builder, value).data
            self.values.append(value)

    @contextlib.contextmanager
    def apart(self, name: str):
        """What is written inside is a function of its own, which is called with the values.

        Within a long function LLVM would keep some sums in memory: half as fast with AVX2, whose
        registers one tile fills. Gives the builder of the new function.
        """
        outer, module = self.builder, self.builder.module
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in self.values])
        function = ir.Function(module, kind, module.get_unique_name(name))
        function.linkage = "internal"
        function.attributes.add("noinline")
        arguments, self.values = self.values, function.args
        self.builder = ir.IRBuilder(function.append_basic_block())
        yield self.builder
        self.builder.ret_void()
        self.builder = outer
        outer.call(function, arguments)

    def at(self, pointer, *places):
        """Address of the element at the sum of `places`."""
        for place in places:
            place = INT64(place) if isinstance(place, int) else place
            pointer = self.builder.gep(pointer, [place])
        return pointer

    def load(self, pointer, *places):
        """A vector from `places` on."""
        where = self.at(pointer, *places)
        vector = self.builder.load(self.builder.bitcast(where, _VECTOR.as_pointer()))
        vector.align = 4
        return vector

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
        k = build.phi(INT64)
        k.add_incoming(INT64(0), before)
        phis = [[build.phi(_VECTOR) for _ in row] for row in sums]
        for phi, value in zip(chain(*phis), chain(*sums), strict=True):
            phi.add_incoming(value, before)
        width = len(sums[0])
        line = self.at(panel, build.mul(k, INT64(width * LANES)))
        factors = []
        for row in rows:
            lane = build.insert_element(
                ir.Constant(_VECTOR, ir.Undefined), build.load(self.at(row, k)), _INT32(0)
            )
            mask = ir.Constant(_INTEGERS, [0] * LANES)
            factors.append(build.shuffle_vector(lane, ir.Constant(_VECTOR, ir.Undefined), mask))
        after = [[] for _ in rows]
        for v in range(width):
            weight = self.load(line, v * LANES)
            for sums_after, factor, phi in zip(after, factors, phis, strict=True):
                sums_after.append(self.call("fma", factor, weight, phi[v]))
        following = build.add(k, INT64(1))
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
        result = build.fmul(series, build.bitcast(power, _VECTOR))
        # The bounds have made a number of NaN; a training that diverges must be seen to.
        return build.select(build.fcmp_unordered("uno", vector, vector), vector, result)

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
