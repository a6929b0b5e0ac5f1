"""A vector of floats as a type of numba: arithmetic that LLVM turns into the machine's SIMD instructions.

A vector has 64 bytes: 16 lanes of float32, 8 of float64. That is one register with AVX-512, two with AVX2, four with
NEON: LLVM splits it where the machine's are narrower. In kernels vectors are used as NumPy's arrays are, with numbers
among them, `1 - i` or `f * c + i * g`; what follows are the operations that have no sign of their own.
"""

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, lower_cast, models, register_model

BYTES = 64
INT32, INT64 = ir.IntType(32), ir.IntType(64)


class Vector(types.Type):  # type: ignore[misc]
    """The type of a vector.

    Args:
        dtype: numba's type of a lane, float32 or float64.
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.lanes = 8 * BYTES // dtype.bitwidth
        super().__init__(name=f"{dtype}x{self.lanes}")


VECTORS = {dtype: Vector(dtype) for dtype in (types.float32, types.float64)}
# LLVM's types of a lane, and how a lane's bits are laid out: type of the same width, bits of the mantissa.
FLOATS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
LAYOUT = {types.float32: (INT32, 23), types.float64: (INT64, 52)}


@register_model(Vector)
class VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    """How LLVM holds a vector: in its own vector type."""

    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, ir.VectorType(FLOATS[kind.dtype], kind.lanes))


def splat(builder: Any, lane: Any, lanes: int) -> Any:
    """A vector with one value in every lane."""
    vector = ir.VectorType(lane.type, lanes)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), lane, INT32(0))
    return builder.shuffle_vector(
        first, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(INT32, lanes), [0] * lanes)
    )


@lower_cast(types.Number, Vector)
def number_to_vector(context: Any, builder: Any, given: Any, wanted: Vector, value: Any) -> Any:
    """A number among vectors counts for every lane."""
    return splat(builder, context.cast(builder, value, given, wanted.dtype), wanted.lanes)


def _binary(operation: Any, instruction: str) -> None:
    @infer_global(operation)
    class Typed(AbstractTemplate):  # type: ignore[misc]
        def generic(self, args: Any, kws: Any) -> Any:
            vector = next((a for a in args if isinstance(a, Vector)), None)
            if vector is not None and all(a == vector or isinstance(a, types.Number) for a in args):
                return signature(vector, vector, vector)
            return None

    @lower_builtin(operation, Vector, Vector)
    def lowered(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args)


_binary(operator.add, "fadd")
_binary(operator.sub, "fsub")
_binary(operator.mul, "fmul")
_binary(operator.truediv, "fdiv")


def called(builder: Any, name: str, *args: Any) -> Any:
    """Call one of LLVM's functions on vectors of one type, which returns such a vector."""
    vector = args[0].type
    kind = f"v{vector.count}f{32 if vector.element == ir.FloatType() else 64}"
    function = ir.FunctionType(vector, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}.{kind}"), args)


@intrinsic
def lanes(typing: Any, of: Any) -> Any:
    """How many lanes a vector has, or one of an array's numbers, or of such numbers as this one: a constant."""
    count = VECTORS[getattr(of, "dtype", of)].lanes
    return types.int64(of), lambda context, builder, sig, args: context.get_constant(types.int64, count)


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once; numbers may stand among vectors."""
    vector = next(kind for kind in (a, b, c) if isinstance(kind, Vector))
    return vector(vector, vector, vector), lambda context, builder, sig, args: called(builder, "fma", *args)


@intrinsic
def magnitude(typing: Any, x: Any) -> Any:
    """|x|."""
    return x(x), lambda context, builder, sig, args: called(builder, "fabs", *args)


@intrinsic
def with_sign(typing: Any, x: Any, sign: Any) -> Any:
    """|x| with the sign of another vector, or of a number."""
    return x(x, x), lambda context, builder, sig, args: called(builder, "copysign", *args)


@intrinsic
def where_less(typing: Any, x: Any, bound: Any, then: Any, otherwise: Any) -> Any:
    """`then` where x < bound, else `otherwise`, also where either is NaN; numbers may stand among vectors."""
    vector = next(kind for kind in (x, bound, then, otherwise) if isinstance(kind, Vector))

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", args[0], args[1]), args[2], args[3])

    return vector(vector, vector, vector, vector), lower


@intrinsic(prefer_literal=True)
def exponent(typing: Any, n: Any, more: Any) -> Any:
    """2^(n + more) for a constant, from n + 1.5 * 2^m where the mantissa has m bits: its last bits are those of n."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        integer, mantissa = LAYOUT[sig.return_type.dtype]
        bits = ir.VectorType(integer, sig.return_type.lanes)
        one = (2 ** (integer.width - 2 - mantissa) - 1 + more.literal_value) << mantissa  # the bits of 2^more
        shifted = builder.shl(builder.bitcast(args[0], bits), ir.Constant(bits, [mantissa] * bits.count))
        return builder.bitcast(builder.add(shifted, ir.Constant(bits, [one] * bits.count)), args[0].type)

    return n(n, more), lower


def first_lanes(builder: Any, lanes: int, n: Any) -> Any:
    """The mask of the first n lanes."""
    numbers = ir.Constant(ir.VectorType(INT64, lanes), list(range(lanes)))
    return builder.icmp_signed("<", numbers, splat(builder, n, lanes))


@intrinsic
def first(typing: Any, x: Any, n: Any) -> Any:
    """X in the first n lanes, zero in the others, whatever they hold."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        mask = first_lanes(builder, sig.return_type.lanes, args[1])
        return builder.select(mask, args[0], ir.Constant(args[0].type, None))

    return x(x, types.int64), lower
