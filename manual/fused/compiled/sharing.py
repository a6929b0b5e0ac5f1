"""How threads share a block: who computes which of its units at a step.

Each thread has a part of the units. It begins with that one; where it has done it and others are late, it takes theirs
that nobody has begun. So no thread waits for one that the system has stopped, unless that is in the middle of a part.
"""

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .memory import CHECKED, Array, address, call_at, jit
from .vectors import BYTES, INT64

PATIENCE = 64  # looks at what the others have done, before one of their parts is taken
SPINS = 256  # looks before another thread is let run instead
IS_X86 = platform.machine().lower() in ("x86_64", "amd64")


@intrinsic
def number_at(typing: Any, place: Any) -> Any:
    """The number at an address; what its writers wrote before is seen."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load_atomic(builder.inttoptr(args[0], INT64.as_pointer()), "acquire", 8)

    return types.int64(types.int64), lower


@intrinsic
def add_one(typing: Any, place: Any) -> Any:
    """Count at an address, whoever does so at the same time; what was written before is seen by who reads it."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.atomic_rmw("add", builder.inttoptr(args[0], INT64.as_pointer()), INT64(1), "acq_rel")
        return context.get_dummy_value()

    return types.void(types.int64), lower


@intrinsic
def claim(typing: Any, place: Any, number: Any) -> Any:
    """Count at an address if it is at this number: whether it was, of which one thread alone is told."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = builder.inttoptr(args[0], INT64.as_pointer())
        found = builder.cmpxchg(place, args[1], builder.add(args[1], INT64(1)), "acq_rel", "acquire")
        return builder.extract_value(found, 1)

    return types.boolean(types.int64, types.int64), lower


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
def counter(call, block, i):
    """The address of a count of a block: 0 of the parts that are done, 1 + p of the times that part p was begun."""
    counts = Array(call.counts, 0, (call.directions * call.blocks, 1 + call.shares, BYTES // 8))
    return address(counts, (block, i, 0), (block, i, 0))


@jit
def next_part(call, task, phase, finished):
    """The part of a block that a task is to compute next in a phase, or -1 where all are done.

    Args:
        task: it belongs to a block and has a part there by its number.
        phase: how often all parts have been done before.
        finished: whether the task has just done one.
    """
    if call.shares == 1:
        return -1 if finished else 0
    block, own = task // call.shares, task % call.shares
    if finished:
        add_one(counter(call, block, 0))
    elif claim(counter(call, block, 1 + own), phase):
        return own
    looks = 0
    while number_at(counter(call, block, 0)) < (phase + 1) * call.shares:
        if CHECKED and call.failed:
            return -1
        looks += 1
        if looks % PATIENCE == 0:
            for p in range(call.shares):
                place = counter(call, block, 1 + p)
                if number_at(place) == phase and claim(place, phase):
                    return p
        if looks < SPINS:
            pause()
        else:
            call_at(call.give_way, (0,))
    return -1
