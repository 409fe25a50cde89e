"""A register tile: a block of sums that never leaves the CPU's registers while it is summed.

A convolution, like a matrix product, is a long sum of outer products: a column of numbers from
one operand times a row from the other. The plain loops fetch and store every sum again for each
term, and spend their time on that. Here a whole block of sums, for example 14 rows × 2 vectors
of 16 numbers, is one value:

    tile = load(bias, 0, 0, ROWS, VECTORS)                 # every row starts as the bias
    for c in range(C):
        tile = add_outer(tile, a, i + c, step, b, j + c * width)
    store(tile, y, k, y_step)

`add_outer` reads 14 numbers and 2 vectors and does 28 vector multiply-adds. That is the whole
speed: enough arithmetic for every number fetched.

Numba has no vector type, so this file adds one, `Tile`: to Numba one value, to LLVM an array of
its `<16 x float>`. Each function below says how Numba types a call and which LLVM instructions
it becomes. They take offsets, counted in elements from the start of an array in plain memory
order, and test nothing. That is for those who call them. Compile-time numbers (ROWS, VECTORS)
must be constants where they are called.

Tiles of one size can also be added, subtracted and multiplied, number by number, and multiplied
by one number: `(a - b) * 0.5` is one instruction for each vector and operation. `keep_larger`,
`store_whole` and `where_equal` are for max pooling, which remembers who won.
"""

import operator

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.extending import intrinsic, overload, register_model

from nn.kernels.cpu import VECTOR_BYTES

LLVM_TYPES = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}


class Tile(types.Type):
    """rows × vectors accumulators, each of `lanes` numbers of type dtype."""

    def __init__(self, dtype, rows, vectors):
        self.dtype, self.rows, self.vectors = dtype, rows, vectors
        self.lanes = VECTOR_BYTES * 8 // dtype.bitwidth
        super().__init__(f"Tile({dtype}, {rows} x {vectors} x {self.lanes})")


@register_model(Tile)
class TileModel(models.PrimitiveModel):
    """The accumulators row by row, as one LLVM array. LLVM takes it apart into registers."""

    def __init__(self, manager, tile):
        vector = ir.VectorType(LLVM_TYPES[tile.dtype], tile.lanes)
        super().__init__(manager, tile, ir.ArrayType(vector, tile.rows * tile.vectors))


def _pointer(context, builder, array_type, array, offset):
    """&array[offset], in plain memory order."""
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [offset])


def _vectors_at(builder, pointer, vector, count):
    """The addresses of `count` vectors that lie one after the other."""
    first = builder.bitcast(pointer, vector.as_pointer())
    return [builder.gep(first, [cgutils.intp_t(v)]) for v in range(count)]


def _alignment(tile):
    return tile.dtype.bitwidth // 8  # no more than that of a single number is promised


def _spread(builder, number, vector):
    """A vector that holds `number` in every lane."""
    undefined = vector(ir.Undefined)
    first_lane = ir.VectorType(ir.IntType(32), vector.count)(None)
    number = builder.insert_element(undefined, number, ir.IntType(32)(0))
    return builder.shuffle_vector(number, undefined, first_lane)


def _multiply_add(builder, tile):
    """LLVM's a·b + c on vectors: fused where the CPU can, two instructions where it cannot."""
    vector = ir.VectorType(LLVM_TYPES[tile.dtype], tile.lanes)
    name = f"llvm.fmuladd.v{tile.lanes}f{tile.dtype.bitwidth}"
    return cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * 3), name
    )


def _rows_at(builder, pointer, step, tile, count):
    """`count` vectors, each `step` numbers after the one before. (For tiles one vector wide.)"""
    vector = ir.VectorType(LLVM_TYPES[tile.dtype], tile.lanes)
    rows = []
    for _ in range(count):
        at = builder.bitcast(pointer, vector.as_pointer())
        rows.append(builder.load(at, align=_alignment(tile)))
        pointer = builder.gep(pointer, [step])
    return rows


@intrinsic
def lanes(typing_context, array):
    """How many numbers of this array's type are in one vector: a compile-time constant."""
    count = VECTOR_BYTES * 8 // array.dtype.bitwidth
    return types.intp(array), lambda context, builder, signature, args: cgutils.intp_t(count)


@intrinsic(prefer_literal=True)
def load(typing_context, array, offset, step, rows, vectors):
    """A tile whose row r is read from offset + r·step. (step 0: the same for every row.)"""
    if not (isinstance(rows, types.IntegerLiteral) and isinstance(vectors, types.IntegerLiteral)):
        return None
    tile = Tile(array.dtype, rows.literal_value, vectors.literal_value)

    def codegen(context, builder, signature, args):
        array, offset, step, _, _ = args
        value = context.get_value_type(tile)(ir.Undefined)
        pointer = _pointer(context, builder, signature.args[0], array, offset)
        for r in range(tile.rows):
            for v, at in enumerate(_vectors_at(builder, pointer, value.type.element, tile.vectors)):
                vector = builder.load(at, align=_alignment(tile))
                value = builder.insert_value(value, vector, r * tile.vectors + v)
            pointer = builder.gep(pointer, [step])
        return value

    return tile(array, types.intp, types.intp, rows, vectors), codegen


@intrinsic
def store(typing_context, tile, array, offset, step):
    """Write row r of the tile to offset + r·step."""

    def codegen(context, builder, signature, args):
        value, array, offset, step = args
        pointer = _pointer(context, builder, signature.args[1], array, offset)
        for r in range(tile.rows):
            for v, at in enumerate(_vectors_at(builder, pointer, value.type.element, tile.vectors)):
                vector = builder.extract_value(value, r * tile.vectors + v)
                builder.store(vector, at, align=_alignment(tile))
            pointer = builder.gep(pointer, [step])
        return context.get_dummy_value()

    return types.void(tile, array, types.intp, types.intp), codegen


@intrinsic
def load_square(typing_context, array, offset, step):
    """A tile as high as a vector is wide, one vector in a row: row r from offset + r·step."""
    lanes = VECTOR_BYTES * 8 // array.dtype.bitwidth
    tile = Tile(array.dtype, lanes, 1)

    def codegen(context, builder, signature, args):
        array, offset, step = args
        value = context.get_value_type(tile)(ir.Undefined)
        pointer = _pointer(context, builder, signature.args[0], array, offset)
        for r, vector in enumerate(_rows_at(builder, pointer, step, tile, lanes)):
            value = builder.insert_value(value, vector, r)
        return value

    return tile(array, types.intp, types.intp), codegen


@intrinsic
def transposed(typing_context, tile):
    """The square tile with rows and columns exchanged.

    A square of 2×2 blocks is transposed by exchanging the two off its diagonal, and then each
    block by itself: blocks of 1, 2, 4, … numbers, in any order. One exchange makes two rows new.
    """
    if not (isinstance(tile, Tile) and (tile.rows, tile.vectors) == (tile.lanes, 1)):
        return None

    def codegen(context, builder, signature, args):
        L = tile.lanes
        rows = [builder.extract_value(args[0], r) for r in range(L)]
        kind = ir.VectorType(ir.IntType(32), L)
        size = 1
        while size < L:
            # Numbers from L on are those of the second row.
            first = kind([i if not i & size else L + (i ^ size) for i in range(L)])
            second = kind([i ^ size if not i & size else L + i for i in range(L)])
            for r in range(L):
                if not r & size:
                    pair = rows[r], rows[r | size]
                    rows[r] = builder.shuffle_vector(*pair, first)
                    rows[r | size] = builder.shuffle_vector(*pair, second)
            size *= 2
        value = args[0]
        for r in range(L):
            value = builder.insert_value(value, rows[r], r)
        return value

    return tile(tile), codegen


@intrinsic
def add_outer(typing_context, tile, a, a_offset, a_step, b, b_offset):
    """tile[r, :] + a[a_offset + r·a_step] · b[b_offset:], for all rows r.

    Give a_step as a constant: then all rows of `a` are read through one pointer.
    """

    def codegen(context, builder, signature, args):
        value, a, a_offset, a_step, b, b_offset = args
        vector = value.type.element
        b = _pointer(context, builder, signature.args[4], b, b_offset)
        row = [
            builder.load(at, align=_alignment(tile))
            for at in _vectors_at(builder, b, vector, tile.vectors)
        ]
        a = _pointer(context, builder, signature.args[1], a, a_offset)
        multiply_add = _multiply_add(builder, tile)
        for r in range(tile.rows):
            offset = builder.mul(a_step, cgutils.intp_t(r))
            number = builder.load(builder.gep(a, [offset]), align=_alignment(tile))
            number = _spread(builder, number, vector)
            for v in range(tile.vectors):
                i = r * tile.vectors + v
                total = builder.extract_value(value, i)
                total = builder.call(multiply_add, [number, row[v], total])
                value = builder.insert_value(value, total, i)
        return value

    return tile(tile, a, types.intp, types.intp, b, types.intp), codegen


@intrinsic(prefer_literal=True)
def slide(typing_context, tile, a, a_offset, a_step, b, b_offset, b_step, taps):
    """tile[r] + Σ_k a[a_offset + (r + k)·a_step:] · b[b_offset + k·b_step:], for k < taps.

    Products number by number: the rows of `a`, under a window of `taps` rows of `b` that slides
    along them. A row of `a` is read once for all the rows of the tile that meet it.
    """
    K = taps.literal_value

    def codegen(context, builder, signature, args):
        value, a, a_offset, a_step, b, b_offset, b_step, _ = args
        a = _pointer(context, builder, signature.args[1], a, a_offset)
        b = _pointer(context, builder, signature.args[4], b, b_offset)
        window = _rows_at(builder, b, b_step, tile, K)
        for i, number in enumerate(_rows_at(builder, a, a_step, tile, tile.rows + K - 1)):
            for k in range(max(0, i - tile.rows + 1), min(K, i + 1)):
                total = builder.extract_value(value, i - k)
                total = builder.call(_multiply_add(builder, tile), [number, window[k], total])
                value = builder.insert_value(value, total, i - k)
        return value

    sizes = [types.intp, types.intp]
    return tile(tile, a, *sizes, b, *sizes, taps), codegen


@intrinsic
def slide_sums(typing_context, sums, a, a_offset, a_step, tile):
    """sums[k] + Σ_r a[a_offset + (r + k)·a_step:] · tile[r]: what `slide` gives to its window."""

    def codegen(context, builder, signature, args):
        value, a, a_offset, a_step, b = args
        a = _pointer(context, builder, signature.args[1], a, a_offset)
        for i, number in enumerate(_rows_at(builder, a, a_step, tile, tile.rows + sums.rows - 1)):
            for k in range(max(0, i - tile.rows + 1), min(sums.rows, i + 1)):
                factors = [number, builder.extract_value(b, i - k)]
                total = builder.extract_value(value, k)
                total = builder.call(_multiply_add(builder, tile), [*factors, total])
                value = builder.insert_value(value, total, k)
        return value

    return sums(sums, a, types.intp, types.intp, tile), codegen


def _elementwise(operation, instruction):
    """Give tiles an operator: `instruction` names the LLVM instruction for a pair of vectors."""

    @intrinsic
    def apply(typing_context, a, b):
        def codegen(context, builder, signature, args):
            value, other = args
            vector = value.type.element
            if not isinstance(b, Tile):
                other = context.cast(builder, other, b, a.dtype)
                other = _spread(builder, other, vector)
            for i in range(a.rows * a.vectors):
                x = builder.extract_value(value, i)
                y = builder.extract_value(other, i) if isinstance(b, Tile) else other
                # "contract": a multiplication and an addition may become one instruction.
                x = getattr(builder, instruction)(x, y, flags=("contract", "nsz"))
                value = builder.insert_value(value, x, i)
            return value

        return a(a, b), codegen

    @overload(operation)
    def typed(a, b):
        if isinstance(a, Tile) and (a == b or isinstance(b, types.Float)):
            return lambda a, b: apply(a, b)


_elementwise(operator.add, "fadd")
_elementwise(operator.sub, "fsub")
_elementwise(operator.mul, "fmul")


@intrinsic(prefer_literal=True)
def fill(typing_context, array, number, rows, vectors):
    """A tile of numbers of the array's type, all of them `number`."""
    tile = Tile(array.dtype, rows.literal_value, vectors.literal_value)

    def codegen(context, builder, signature, args):
        value = context.get_value_type(tile)(ir.Undefined)
        number = context.cast(builder, args[1], signature.args[1], tile.dtype)
        number = _spread(builder, number, value.type.element)
        for i in range(tile.rows * tile.vectors):
            value = builder.insert_value(value, number, i)
        return value

    return tile(array, number, rows, vectors), codegen


@intrinsic
def keep_larger(typing_context, old, new, a, b):
    """`b` where `new` is larger than `old`, `a` elsewhere. All four are tiles of one size.

    Of equals the old one stays. A NaN counts as larger than all numbers, but not than a NaN.
    """

    def codegen(context, builder, signature, args):
        old, new, a, b = args
        for i in range(signature.return_type.rows * signature.return_type.vectors):
            before, after = builder.extract_value(old, i), builder.extract_value(new, i)
            larger = builder.fcmp_unordered(">", after, before)  # true for a NaN
            larger = builder.and_(larger, builder.fcmp_ordered("ord", before, before))
            kept, taken = builder.extract_value(a, i), builder.extract_value(b, i)
            a = builder.insert_value(a, builder.select(larger, taken, kept), i)
        return a

    return old(old, new, a, b), codegen


@intrinsic
def store_whole(typing_context, tile, array, offset):
    """Write a tile of one row, which holds whole numbers, into an array of unsigned integers."""

    def codegen(context, builder, signature, args):
        value, array, offset = args
        pointer = _pointer(context, builder, signature.args[1], array, offset)
        vector = ir.VectorType(pointer.type.pointee, tile.lanes)
        for v, at in enumerate(_vectors_at(builder, pointer, vector, tile.vectors)):
            whole = builder.fptoui(builder.extract_value(value, v), vector)
            builder.store(whole, at, align=signature.args[1].dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(tile, array, types.intp), codegen


@intrinsic
def where_equal(typing_context, tile, array, offset, number):
    """Of a tile of one row the places where array[offset:] equals `number`, zero elsewhere."""

    def codegen(context, builder, signature, args):
        value, array, offset, number = args
        pointer = _pointer(context, builder, signature.args[1], array, offset)
        vector = ir.VectorType(pointer.type.pointee, tile.lanes)
        number = context.cast(builder, number, types.intp, signature.args[1].dtype)
        number = _spread(builder, number, vector)
        zero = ir.Constant(value.type.element, None)
        for v, at in enumerate(_vectors_at(builder, pointer, vector, tile.vectors)):
            whole = builder.load(at, align=signature.args[1].dtype.bitwidth // 8)
            equal = builder.icmp_unsigned("==", whole, number)
            kept = builder.select(equal, builder.extract_value(value, v), zero)
            value = builder.insert_value(value, kept, v)
        return value

    return tile(tile, array, types.intp, types.intp), codegen


@intrinsic(prefer_literal=True)
def copy(typing_context, target, target_offset, source, source_offset, count):
    """target[target_offset:][:count] = source[source_offset:][:count]. The two do not overlap.

    A constant count becomes one vector load and store, any other a call of memcpy.
    """
    if target.dtype != source.dtype:
        return None

    def codegen(context, builder, signature, args):
        target, target_offset, source, source_offset, number = args
        target = _pointer(context, builder, signature.args[0], target, target_offset)
        source = _pointer(context, builder, signature.args[2], source, source_offset)
        size = signature.args[0].dtype.bitwidth // 8
        if isinstance(count, types.IntegerLiteral):
            vector = ir.VectorType(source.type.pointee, count.literal_value)
            value = builder.load(builder.bitcast(source, vector.as_pointer()), align=size)
            builder.store(value, builder.bitcast(target, vector.as_pointer()), align=size)
        else:
            cgutils.raw_memcpy(builder, target, source, number, size)
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp, count), codegen


@intrinsic
def clear(typing_context, target, offset, count):
    """target[offset:][:count] = 0."""

    def codegen(context, builder, signature, args):
        target, offset, count = args
        target = _pointer(context, builder, signature.args[0], target, offset)
        size = builder.mul(count, cgutils.intp_t(signature.args[0].dtype.bitwidth // 8))
        cgutils.memset(builder, target, size, 0)
        return context.get_dummy_value()

    return types.void(target, types.intp, types.intp), codegen


@intrinsic
def prefetch(typing_context, array, offset):
    """Ask for the cache line of array[offset], so that it is in the second-level cache in time.

    It may lie beyond the end of the array: a prefetch never fails.
    """

    def codegen(context, builder, signature, args):
        pointer = _pointer(context, builder, signature.args[0], *args)
        byte, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch")
        to_read, second_level, data = i32(0), i32(2), i32(1)
        builder.call(function, [builder.bitcast(pointer, byte), to_read, second_level, data])
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


@intrinsic
def apart(typing_context):
    """Compile the kernel that calls this as a function of its own, never into its caller.

    The sums then have the registers to themselves. Inside a larger function LLVM keeps other
    things in some of them, and the inner loop moves sums to memory and back.
    """

    def codegen(context, builder, signature, args):
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), codegen
