"""Where threads that share a block wait for each other, once or twice a step."""

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .memory import CHECKED, Array, address, call_at, jit
from .vectors import BYTES, INT64

SPINS = 4096  # some microseconds: as long as the others may take where each has a core of its own
IS_X86 = platform.machine().lower() in ("x86_64", "amd64")


@intrinsic
def add_at(typing: Any, place: Any, number: Any) -> Any:
    """Add to the number at an address, in one step that no thread sees half done; what was written before is seen."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.atomic_rmw("add", builder.inttoptr(args[0], INT64.as_pointer()), args[1], "acq_rel")
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), lower


@intrinsic
def number_at(typing: Any, place: Any) -> Any:
    """The number at an address; what its writers wrote before is seen."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load_atomic(builder.inttoptr(args[0], INT64.as_pointer()), "acquire", 8)

    return types.int64(types.int64), lower


@intrinsic
def pause(typing: Any) -> Any:
    """Tell the processor that this is a wait."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if IS_X86:
            function = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, function, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), lower


@jit
def wait(call, share, times):
    """Wait until all shares of a block have come here, each so many times.

    A thread that has several shares comes for all of them, so that no number of threads has one wait in vain.
    """
    mine = share.last - share.first
    if mine == call.shares:
        return
    arrived = Array(call.arrived, 0, (call.directions * call.blocks, BYTES // 8))
    index = share.d * call.blocks + share.block
    place = address(arrived, (index, 0), (index, 0))
    add_at(place, mine)
    spins = 0
    while number_at(place) < times * call.shares:
        if CHECKED and call.failed:
            return
        spins += 1
        if spins < SPINS:
            pause()
        else:  # there are fewer cores than threads
            call_at(call.give_way, (0,))
