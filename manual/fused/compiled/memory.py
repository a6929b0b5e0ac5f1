"""Where kernels reach memory: arrays over what a call brings, and vectors at an index of them.

Kernels know NumPy arrays and indices; this is the one place that makes addresses of them. With RNN_PARITY_BOUNDS=1 in
the environment every index is checked against the array's shape, and one that is out of it raises IndexError.
"""

import os
from typing import Any

from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .vectors import INT32, INT64, VECTORS, called, first_lanes, lanes, splat

CHECKED = os.environ.get("RNN_PARITY_BOUNDS") == "1"

jit = njit(error_model="numpy", nogil=True)


@intrinsic
def pointer(typing: Any, address: Any, like: Any) -> Any:
    """An address as a pointer to numbers of the type of another."""
    kind = types.CPointer(like)
    return kind(types.int64, like), lambda context, builder, sig, args: builder.inttoptr(
        args[0], context.get_value_type(kind)
    )


@jit
def array(address, like, shape):
    """The array of a shape that lies at an address, of the dtype of a number."""
    return carray(pointer(address, like), shape)


def _position(context: Any, builder: Any, kinds: Any, values: Any, count: Any) -> Any:
    """A pointer to array[index], from where the array must hold `count` elements of its last axis.

    An index that is one short begins at 0 of the last axis.
    """
    array, indices = kinds
    held = context.make_array(array)(context, builder, values[0])
    shape = cgutils.unpack_tuple(builder, held.shape)
    place = [
        context.cast(builder, index, kind, types.int64)
        for index, kind in zip(cgutils.unpack_tuple(builder, values[1]), indices.types, strict=True)
    ]
    place += [context.get_constant(types.int64, 0)] * (array.ndim - len(place))
    if CHECKED:
        last = [*place[:-1], builder.sub(builder.add(place[-1], count), INT64(1))]
        _locate(context, builder, array, held, shape, last)
    return _locate(context, builder, array, held, shape, place)


def _locate(context: Any, builder: Any, array: Any, held: Any, shape: Any, place: Any) -> Any:
    strides = cgutils.unpack_tuple(builder, held.strides)
    return cgutils.get_item_pointer2(
        context, builder, held.data, shape, strides, array.layout, place, boundscheck=CHECKED
    )


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """The vector at array[index]."""
    vector = VECTORS[array.dtype]

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _position(context, builder, sig.args, args, INT64(vector.lanes))
        kind = context.get_value_type(vector)
        return builder.load(builder.bitcast(place, kind.as_pointer()), align=vector.dtype.bitwidth // 8)

    return vector(array, index), lower


@intrinsic
def store(typing: Any, array: Any, index: Any, x: Any) -> Any:
    """Put a vector at array[index]."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _position(context, builder, sig.args[:2], args, INT64(x.lanes))
        builder.store(args[2], builder.bitcast(place, args[2].type.as_pointer()), align=x.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, index, x), lower


def _masked(builder: Any, name: str, returned: Any, args: Any, vector: Any) -> Any:
    kind = f"v{vector.count}f{32 if vector.element == ir.FloatType() else 64}"
    function = ir.FunctionType(returned, [a.type for a in args])
    name = f"llvm.masked.{name}.{kind}.p0"
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), args)


@intrinsic
def _load_first(typing: Any, array: Any, index: Any, n: Any) -> Any:
    vector = VECTORS[array.dtype]

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = context.get_value_type(vector)
        place = builder.bitcast(_position(context, builder, sig.args[:2], args, args[2]), kind.as_pointer())
        mask = first_lanes(builder, vector.lanes, args[2])
        aligned = INT32(vector.dtype.bitwidth // 8)
        return _masked(builder, "load", kind, [place, aligned, mask, ir.Constant(kind, None)], kind)

    return vector(array, index, types.int64), lower


@intrinsic
def _store_first(typing: Any, array: Any, index: Any, x: Any, n: Any) -> Any:
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = builder.bitcast(_position(context, builder, sig.args[:2], args, args[3]), args[2].type.as_pointer())
        mask = first_lanes(builder, x.lanes, args[3])
        _masked(builder, "store", ir.VoidType(), [args[2], place, INT32(x.dtype.bitwidth // 8), mask], args[2].type)
        return context.get_dummy_value()

    return types.void(array, index, x, types.int64), lower


@jit
def load_part(array, index, n):
    """The first n numbers at array[index] as a vector, zero in the lanes past them; all where n is larger."""
    if n < lanes(array):
        return _load_first(array, index, n)
    return load(array, index)


@jit
def store_part(array, index, x, n):
    """Put the first n lanes of a vector at array[index]; all where n is larger."""
    if n < lanes(array):
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
        return builder.ptrtoint(place, INT64)

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
