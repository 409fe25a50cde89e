"""e^x in plain arithmetic, so that a loop over it is compiled to vectors; and functions of it.

The C library's `exp` is a call for one number at a time. Here it is

    x = n ln 2 + r  with a whole n and |r| ≤ ln 2 / 2          e^x = 2ⁿ · e^r

e^r is the first terms of its series: up to r⁷ for float32 and r¹³ for float64, as the next,
0.35⁸ / 8! and 0.35¹⁴ / 14!, is less than they resolve. 2ⁿ is made by writing n into the exponent of
a number. n ln 2 is subtracted in two parts, the first of which has few digits, so that n times it
is exact.

Numba has no name for three things a CPU can do with a vector; the intrinsics below give them one.
"""

import math

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic

from nn.kernels.jit import kernel


def _called(builder, name, result, *args):
    """A call of one of LLVM's own functions."""
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


@intrinsic
def like(typing_context, value, x):
    """`value`, a constant, in the type of x: Numba's constants would widen float32."""

    def codegen(context, builder, signature, args):
        return context.cast(builder, args[0], signature.args[0], signature.return_type)

    return x(value, x), codegen


@intrinsic
def subtract_product(typing_context, x, a, b):
    """x − a·b, rounded once where the CPU can, and never rearranged by the compiler."""

    def codegen(context, builder, signature, args):
        x, a, b = args
        return _called(builder, f"llvm.fmuladd.f{_bits(signature)}", x.type, builder.fneg(a), b, x)

    return x(x, x, x), codegen


@intrinsic
def nearest(typing_context, x):
    """The whole number next to x, as a number of the same type."""

    def codegen(context, builder, signature, args):
        return _called(builder, f"llvm.rint.f{_bits(signature)}", args[0].type, *args)

    return x(x), codegen


@intrinsic
def power_of_two(typing_context, n):
    """2ⁿ for a whole n between −126 and 127 (float32) or −1022 and 1023 (float64)."""

    def codegen(context, builder, signature, args):
        size = _bits(signature)
        digits, bias = (23, 127) if size == 32 else (52, 1023)
        whole = ir.IntType(size)
        exponent = builder.add(builder.fptosi(args[0], whole), whole(bias))
        return builder.bitcast(builder.shl(exponent, whole(digits)), args[0].type)

    return n(n), codegen


def _bits(signature):
    """32 for float32, 64 for float64."""
    return signature.return_type.bitwidth


LOG2_E = 1 / math.log(2)
LN2_HIGH = 0.693145751953125  # ln 2 to 16 binary digits
LN2_LOW = 1.42860682030941723e-6  # and what is left
SERIES = [1 / math.factorial(k) for k in range(14)]
C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C13 = SERIES[2:]


@intrinsic
def limit(typing_context, x):
    """Up to which x, above and below zero, e^x is a number with all its digits."""
    largest = math.log(2) * (126 if x == types.float32 else 1022)
    return x(x), lambda context, builder, signature, args: ir.Constant(args[0].type, largest)


@intrinsic
def is_double(typing_context, x):
    """Is x a float64? Known when compiling."""
    answer = cgutils.true_bit if x == types.float64 else cgutils.false_bit
    return types.boolean(x), lambda context, builder, signature, args: answer


@kernel
def exp(x):
    """e^x for x below `limit`, to a few units in the last place; 0 below −limit."""
    bounded = x if x > -limit(x) else -limit(x)
    bounded = bounded if bounded < limit(x) else limit(x)
    n = nearest(bounded * like(LOG2_E, x))
    r = subtract_product(bounded, n, like(LN2_HIGH, x))
    r = subtract_product(r, n, like(LN2_LOW, x))
    # 1 + r + r²/2! + r³/3! + ..., from the last term to the first
    y = like(C7, x)
    if is_double(x):
        y = like(C13, x)
        y = y * r + like(C12, x)
        y = y * r + like(C11, x)
        y = y * r + like(C10, x)
        y = y * r + like(C9, x)
        y = y * r + like(C8, x)
        y = y * r + like(C7, x)
    y = y * r + like(C6, x)
    y = y * r + like(C5, x)
    y = y * r + like(C4, x)
    y = y * r + like(C3, x)
    y = y * r + like(C2, x)
    y = y * r + like(1.0, x)
    y = y * r + like(1.0, x)
    y = y * power_of_two(n) if x >= -limit(x) else like(0.0, x)
    return y if x == x else x  # (a NaN stays one)


@kernel
def sigmoid(x):
    """1 / (1 + e^−x), in the form that never overflows: only e^−|x| is computed."""
    one = like(1.0, x)
    e = exp(-abs(x))
    return (one if x >= 0 else e) / (one + e)


@kernel
def tanh(x):
    """(1 − e^−2|x|) / (1 + e^−2|x|) with the sign of x, in float32.

    Near zero that is a small difference of large numbers; there the first terms of the series
    x − x³/3 + 2x⁵/15 − ... are as good as float32, and the next, at 0.3, is 10⁻⁷ of them.
    """
    one = like(1.0, x)
    e = exp(like(-2.0, x) * abs(x))
    far = (one - e) / (one + e)
    s = x * x
    y = like(62 / 2835, x)
    y = y * s - like(17 / 315, x)
    y = y * s + like(2 / 15, x)
    y = y * s - like(1 / 3, x)
    y = y * s + one
    return (far if x >= 0 else -far) if s > like(0.09, x) else x * y


@kernel
def normal_density(x):
    """φ(x) = e^(−x²/2) / √(2π), the density of a standard normal."""
    return exp(like(-0.5, x) * x * x) * like(1 / math.sqrt(2 * math.pi), x)


@kernel
def normal_below(x, density):
    """Φ(x) = (1 + erf(x/√2)) / 2, the share of a standard normal below x, given φ(x).

    Beyond the middle it falls like the density: by Abramowitz and Stegun, 26.2.17,

        1 − Φ(|x|) = φ(x) · (b₁t + b₂t² + b₃t³ + b₄t⁴ + b₅t⁵),   t = 1 / (1 + 0.2316419 |x|)

    within 7.5e-8, which is about what float32 resolves. float64 has to take the C library's erf.
    """
    t = like(1.0, x) / (like(1.0, x) + like(0.2316419, x) * abs(x))
    y = like(1.330274429, x)
    y = y * t + like(-1.821255978, x)
    y = y * t + like(1.781477937, x)
    y = y * t + like(-0.356563782, x)
    y = y * t + like(0.319381530, x)
    above = density * y * t
    return like(1.0, x) - above if x >= 0 else above
