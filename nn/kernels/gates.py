"""The bends of recurrent cells on tiles, number by number: tanh, and σ made of it.

    tanh |x| = −u / (2 + u)   with   u = e^(−2|x|) − 1          σ(x) = (1 + tanh(x/2)) / 2

u is computed as such. The exponential less 1 would lose the digits of a small x, and small
numbers are what a state begins with. With −2|x| log₂ e = n + f, n whole and |f| ≤ 1/2:

    u = 2^n · s + (2^n − 1)   with   s = e^(f log 2) − 1 = f log 2 + (f log 2)²/2! + …

For σ, which gates, the absolute error counts.
"""

import math

from llvmlite import ir
from numba.core import cgutils
from numba.core.extending import intrinsic

from nn.kernels.lane_math import MANTISSA, TERMS, _constant, _each_vector
from nn.kernels.tile import Tile

FAR = 20.0  # from here on tanh is 1 to the last digit, in float64 too


def _bend(tile, builder, x):
    """tanh of one vector."""
    vector, bits = x.type, tile.dtype.bitwidth
    whole = ir.VectorType(ir.IntType(bits), tile.lanes)

    def call(name, *args):
        function = ir.FunctionType(vector, [vector] * len(args))
        name = f"llvm.{name}.v{tile.lanes}f{bits}"
        return builder.call(cgutils.get_or_insert_function(builder.module, function, name), args)

    def constant(value):
        return _constant(vector, value)

    size = call("fabs", x)
    far = builder.fcmp_ordered(">", size, constant(FAR))  # (a NaN is not)
    size = builder.select(far, constant(FAR), size)
    power = builder.fmul(size, constant(-2 / math.log(2)))
    n = call("floor", builder.fadd(power, constant(0.5)))
    f = builder.fsub(power, n)
    terms = [math.log(2) ** k / math.factorial(k) for k in range(1, TERMS[bits])]
    s = constant(terms[-1])
    for term in reversed(terms[:-1]):
        s = call("fmuladd", s, f, constant(term))
    s = builder.fmul(s, f)
    exponent = builder.fptosi(n, whole)
    exponent = builder.add(exponent, _constant(whole, 2 ** (bits - 2 - MANTISSA[bits]) - 1))
    scale = builder.bitcast(builder.shl(exponent, _constant(whole, MANTISSA[bits])), vector)
    u = call("fmuladd", scale, s, builder.fsub(scale, constant(1.0)))
    return call("copysign", builder.fdiv(u, builder.fadd(u, constant(2.0))), x)


@intrinsic
def tanh(typing_context, tile):
    """tanh(x) to a few units in the last place."""
    if not isinstance(tile, Tile):
        return None

    def codegen(context, builder, signature, args):
        return _each_vector(tile, builder, args[0], lambda i, x: _bend(tile, builder, x))

    return tile(tile), codegen


@intrinsic
def sigmoid(typing_context, tile):
    """1 / (1 + e^−x)."""
    if not isinstance(tile, Tile):
        return None

    def codegen(context, builder, signature, args):
        half = _constant(args[0].type.element, 0.5)

        def gate(i, x):
            bent = _bend(tile, builder, builder.fmul(x, half))
            return builder.fadd(
                builder.fmul(bent, half, flags=("contract",)), half, flags=("contract",)
            )

        return _each_vector(tile, builder, args[0], gate)

    return tile(tile), codegen
