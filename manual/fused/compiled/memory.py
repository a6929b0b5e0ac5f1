"""Where kernels reach memory: arrays over what a call brings, and vectors at an index of them.

Kernels know arrays and indices; this is the one place that makes addresses of them. With RNN_PARITY_BOUNDS=1 in
the environment every index is checked against the array's shape, and one that is out of it raises IndexError.
"""

import os
from typing import Any, NamedTuple

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .vectors import BYTES, INT32, INT64, VECTORS, called, first_lanes, lanes, splat

CHECKED = os.environ.get("RNN_PARITY_BOUNDS") == "1"

# Inlined, since a call would pass vectors and arrays by way of memory: as much as a third of the time.
jit = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)


class Array(NamedTuple):
    """Numbers in memory, the last axis contiguous: what NumPy's arrays are, without an owner to be counted.

    Args:
        place: address of the first number.
        like: any number of their type.
        shape: as NumPy's.
    """

    place: int
    like: float
    shape: tuple[int, ...]


def _position(context: Any, builder: Any, kinds: Any, values: Any, count: Any) -> Any:
    """The address of array[index], from where the array must hold `count` numbers of its last axis.

    An index that is one short begins at 0 of the last axis.
    """
    place, _, shape = cgutils.unpack_tuple(builder, values[0])
    shape = cgutils.unpack_tuple(builder, shape)
    index = [
        context.cast(builder, number, kind, types.int64)
        for number, kind in zip(cgutils.unpack_tuple(builder, values[1]), kinds[1].types, strict=True)
    ]
    index += [INT64(0)] * (len(shape) - len(index))
    if CHECKED:
        for number, size in zip(
            [*index[:-1], builder.sub(builder.add(index[-1], count), INT64(1))], shape, strict=True
        ):
            _check(context, builder, number, size)
        _check(context, builder, index[-1], shape[-1])
    position = INT64(0)
    for number, size in zip(index, shape, strict=True):
        position = builder.add(builder.mul(position, size), number)
    return builder.add(place, builder.mul(position, INT64(kinds[0][1].bitwidth // 8)))


def _check(context: Any, builder: Any, number: Any, size: Any) -> None:
    inside = builder.icmp_unsigned("<", number, size)
    with cgutils.if_unlikely(builder, builder.not_(inside)):
        context.call_conv.return_user_exc(builder, IndexError, ("an index is out of its array's bounds",))


@intrinsic
def get(typing: Any, array: Any, index: Any) -> Any:
    """The number at array[index]."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _position(context, builder, sig.args, args, INT64(1))
        return builder.load(builder.inttoptr(place, context.get_value_type(array[1]).as_pointer()))

    return array[1](array, index), lower


@intrinsic
def put(typing: Any, array: Any, index: Any, number: Any) -> Any:
    """Set array[index]."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _position(context, builder, sig.args[:2], args, INT64(1))
        number = context.cast(builder, args[2], sig.args[2], array[1])
        builder.store(number, builder.inttoptr(place, number.type.as_pointer()))
        return context.get_dummy_value()

    return types.void(array, index, number), lower


@jit
def part(array, i):
    """The array at an index of the first axis."""
    shape = array.shape[1:]
    count = i * itemsize(array)
    for size in shape:
        count *= size
    return Array(array.place + count, array.like, shape)


@jit
def itemsize(array):
    """Bytes of a number of an array."""
    return BYTES // lanes(array.like)


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """The vector at array[index]."""
    vector = VECTORS[array[1]]

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _position(context, builder, sig.args, args, INT64(vector.lanes))
        kind = context.get_value_type(vector)
        return builder.load(builder.inttoptr(place, kind.as_pointer()), align=vector.dtype.bitwidth // 8)

    return vector(array, index), lower


@intrinsic
def store(typing: Any, array: Any, index: Any, x: Any) -> Any:
    """Put a vector at array[index]."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _position(context, builder, sig.args[:2], args, INT64(x.lanes))
        builder.store(args[2], builder.inttoptr(place, args[2].type.as_pointer()), align=x.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, index, x), lower


def _masked(builder: Any, name: str, returned: Any, args: Any, vector: Any) -> Any:
    kind = f"v{vector.count}f{32 if vector.element == ir.FloatType() else 64}"
    function = ir.FunctionType(returned, [a.type for a in args])
    name = f"llvm.masked.{name}.{kind}.p0"
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), args)


@intrinsic
def _load_first(typing: Any, array: Any, index: Any, n: Any) -> Any:
    vector = VECTORS[array[1]]

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = context.get_value_type(vector)
        place = builder.inttoptr(_position(context, builder, sig.args[:2], args, args[2]), kind.as_pointer())
        mask = first_lanes(builder, vector.lanes, args[2])
        aligned = INT32(vector.dtype.bitwidth // 8)
        return _masked(builder, "load", kind, [place, aligned, mask, ir.Constant(kind, None)], kind)

    return vector(array, index, types.int64), lower


@intrinsic
def _store_first(typing: Any, array: Any, index: Any, x: Any, n: Any) -> Any:
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = builder.inttoptr(_position(context, builder, sig.args[:2], args, args[3]), args[2].type.as_pointer())
        mask = first_lanes(builder, x.lanes, args[3])
        _masked(builder, "store", ir.VoidType(), [args[2], place, INT32(x.dtype.bitwidth // 8), mask], args[2].type)
        return context.get_dummy_value()

    return types.void(array, index, x, types.int64), lower


@jit
def load_part(array, index, n):
    """The first n numbers at array[index] as a vector, zero in the lanes past them; all where n is larger."""
    if n < lanes(array.like):
        return _load_first(array, index, n)
    return load(array, index)


@jit
def store_part(array, index, x, n):
    """Put the first n lanes of a vector at array[index]; all where n is larger."""
    if n < lanes(array.like):
        _store_first(array, index, x, n)
    else:
        store(array, index, x)


# Within a tile there are addresses: `address` checks the first and the last index that it will reach.


@intrinsic
def address(typing: Any, array: Any, index: Any, last: Any) -> Any:
    """The address of array[index]; a debug run checks that array[last] exists as well."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if CHECKED:
            _position(context, builder, (sig.args[0], sig.args[2]), (args[0], args[2]), INT64(1))
        place = _position(context, builder, sig.args[:2], args[:2], INT64(1))
        return place

    return types.int64(array, index, last), lower


@intrinsic
def load_vector(typing: Any, place: Any, like: Any) -> Any:
    """The vector at an address, of the type of another."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = args[1].type.as_pointer()
        return builder.load(builder.inttoptr(args[0], kind), align=like.dtype.bitwidth // 8)

    return like(types.int64, like), lower


@intrinsic
def multiply_rows(typing: Any, sums: Any, place: Any, apart: Any, x: Any) -> Any:
    """To each sum of a tile add x times the number of its row; the rows' numbers lie `apart` bytes from each other."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sums, place, apart, vector = args
        lane = vector.type.element
        found = []
        for row in range(sig.return_type.count):
            number = builder.load(builder.inttoptr(place, lane.as_pointer()), align=x.dtype.bitwidth // 8)
            product = splat(builder, number, x.lanes), vector, builder.extract_value(sums, row)
            found.append(called(builder, "fma", *product))
            place = builder.add(place, apart)
        return context.make_tuple(builder, sig.return_type, found)

    return sums(sums, types.int64, types.int64, x), lower


@intrinsic
def multiply_panels(typing: Any, sums: Any, place: Any, panel: Any, beside: Any) -> Any:
    """To each sum of a row add the number at an address times the vector of its panel, `beside` bytes from the next."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sums, place, panel, beside = args
        vector = builder.extract_value(sums, 0).type
        align = sig.return_type.dtype.dtype.bitwidth // 8
        number = splat(
            builder, builder.load(builder.inttoptr(place, vector.element.as_pointer()), align=align), vector.count
        )
        found = []
        for i in range(sig.return_type.count):
            weights = builder.load(builder.inttoptr(panel, vector.as_pointer()), align=align)
            found.append(called(builder, "fma", number, weights, builder.extract_value(sums, i)))
            panel = builder.add(panel, beside)
        return context.make_tuple(builder, sig.return_type, found)

    return sums(sums, types.int64, types.int64, types.int64), lower


@intrinsic
def store_rows(typing: Any, sums: Any, place: Any, apart: Any) -> Any:
    """Put the sums of a tile to an address, `apart` bytes from each other."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sums, place, apart = args
        align = sig.args[0].dtype.dtype.bitwidth // 8
        for row in range(sig.args[0].count):
            vector = builder.extract_value(sums, row)
            builder.store(vector, builder.inttoptr(place, vector.type.as_pointer()), align=align)
            place = builder.add(place, apart)
        return context.get_dummy_value()

    return types.void(sums, types.int64, types.int64), lower


@intrinsic
def vector_at(typing: Any, place: Any, like: Any) -> Any:
    """The vector at an address, or zero in all lanes where that is 0, of the type that a pointer has."""
    vector = VECTORS[like.dtype]

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = context.get_value_type(vector)
        found = cgutils.alloca_once_value(builder, ir.Constant(kind, None))
        with builder.if_then(cgutils.is_not_null(builder, args[0])):
            place = builder.inttoptr(args[0], kind.as_pointer())
            builder.store(builder.load(place, align=vector.dtype.bitwidth // 8), found)
        return builder.load(found)

    return vector(types.int64, like), lower


@intrinsic
def zeros(typing: Any, like: Any) -> Any:
    """Zero in all lanes, of the type of a number."""
    vector = VECTORS[like]
    return vector(like), lambda context, builder, sig, args: ir.Constant(context.get_value_type(vector), None)


@intrinsic
def call_at(typing: Any, place: Any, numbers: Any) -> Any:
    """Call the function at an address, which takes whole numbers and returns nothing."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        given = cgutils.unpack_tuple(builder, args[1])
        function = ir.FunctionType(ir.VoidType(), [number.type for number in given])
        builder.call(builder.inttoptr(args[0], function.as_pointer()), given)
        return context.get_dummy_value()

    return types.void(types.int64, types.UniTuple(types.int64, len(numbers))), lower
