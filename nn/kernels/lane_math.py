"""Functions of tiles, number by number: the larger of two, and powers of two.

The exponential of attention is called for every pair of positions, 16 times as often as there are
vectors, so it must itself be vector instructions; the C library's takes one number at a time.
"""

import math

from llvmlite import ir
from numba.core import cgutils
from numba.core.extending import intrinsic

from nn.kernels.tile import Tile

# By the size of a number in bits: the terms of the series, the lowest power that is a normal
# number, and where the exponent stands among the bits.
TERMS = {32: 8, 64: 14}  # the first that is left out is below half a unit in the last place
LOWEST = {32: -126, 64: -1022}
MANTISSA = {32: 23, 64: 52}


def _constant(vector, value):
    return ir.Constant(vector, [value] * vector.count)


def _each_vector(tile, builder, value, function):
    """The tile whose vectors are `function` of those of `value`."""
    for i in range(tile.rows * tile.vectors):
        value = builder.insert_value(value, function(i, builder.extract_value(value, i)), i)
    return value


@intrinsic
def maximum(typing_context, a, b):
    """The larger of two numbers, a where they cannot be compared."""
    if not (isinstance(a, Tile) and a == b):
        return None

    def codegen(context, builder, signature, args):
        def larger(i, x):
            y = builder.extract_value(args[1], i)
            return builder.select(builder.fcmp_ordered("<", x, y), y, x)

        return _each_vector(a, builder, args[0], larger)

    return a(a, b), codegen


@intrinsic
def exp2(typing_context, tile):
    """2^x for x <= 0; 0 where that is no normal number; NaN stays NaN.

    With n the whole number next to x and f = x − n, |f| <= 1/2:

        2^x = 2^n · e^(f log 2)

    The second factor is the first terms of its series; the first is made by writing n into the
    exponent of a number.
    """
    if not isinstance(tile, Tile):
        return None
    bits = tile.dtype.bitwidth

    def codegen(context, builder, signature, args):
        vector = args[0].type.element
        whole = ir.VectorType(ir.IntType(bits), tile.lanes)
        kind = f"v{tile.lanes}f{bits}"

        def declared(name, arguments):
            function = ir.FunctionType(vector, [vector] * arguments)
            return cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}.{kind}")

        floor, multiply_add = declared("floor", 1), declared("fmuladd", 3)
        lowest = _constant(vector, float(LOWEST[bits]))

        def power(i, x):
            vanishes = builder.fcmp_ordered("<", x, lowest)
            x = builder.select(vanishes, lowest, x)
            n = builder.call(floor, [builder.fadd(x, _constant(vector, 0.5))])
            f = builder.fsub(x, n)
            terms = [math.log(2) ** k / math.factorial(k) for k in range(TERMS[bits])]
            sum_ = _constant(vector, terms[-1])
            for term in reversed(terms[:-1]):
                sum_ = builder.call(multiply_add, [sum_, f, _constant(vector, term)])
            exponent = builder.fptosi(n, whole)
            exponent = builder.add(exponent, _constant(whole, 2 ** (bits - 2 - MANTISSA[bits]) - 1))
            scale = builder.bitcast(builder.shl(exponent, _constant(whole, MANTISSA[bits])), vector)
            zero = _constant(vector, 0.0)
            return builder.select(vanishes, zero, builder.fmul(sum_, scale))

        return _each_vector(tile, builder, args[0], power)

    return tile(tile), codegen
