"""The walk of a block of the batch through all steps: what is the same forward and backward.

Each block goes on its own: no thread waits for another. At a step it takes its sequences some rows at a time, and of
those one block of units after the other, whose gates' products and equations follow on each other in the cache.

Where there are fewer sequences than threads, several threads share a block, and wait at each step until all of its
units are done (`sharing`).

The second direction walks from the last step to the first. Packed sequences come longest first, so that those of a step
are the first ones of the batch; forward in time they end one by one, backward they begin so.
"""

from typing import Any, NamedTuple

from .arguments import block_bounds, blocks_of, gradients_of, rows_of_all, sequences_at, slots_of, tasks_of
from .memory import Array, address, get, itemsize, jit, load_part
from .products import Rows
from .vectors import BYTES, lanes

ROWS_AT_ONCE = 48  # sequences: their products of a block of units stay in the cache


class Arrays(NamedTuple):
    """What lies in memory, as `arguments` and `packing` describe it; some are there in one of the walks alone."""

    x: Any
    h: Any
    out: Any
    h_0: Any
    c_0: Any
    kept: Any
    panels: Any
    panels_hr: Any
    scratch: Any
    d_out: Any
    d_h_n: Any
    D: Any
    dh: Any
    carried: Any


@jit
def arrays_of(call, panels, panels_hr):
    """All of them, with the panels of one of the walks."""
    B, H, R, L, directions = call.B, call.H, call.R, lanes(call.zero), call.directions
    rows, units, tasks = rows_of_all(call), blocks_of(H, call), tasks_of(call)
    return Arrays(
        x=Array(call.x, call.zero, (rows, call.I)),
        h=Array(call.h, call.zero, (rows, directions * R)),
        out=Array(call.out, call.zero, (rows, directions * R)),
        h_0=Array(call.h_0, call.zero, (directions * B, R)),
        c_0=Array(call.c_0, call.zero, (directions * B, H)),
        kept=Array(call.kept, call.zero, (directions * units, rows if call.keep else B, slots_of(call), L)),
        panels=panels,
        panels_hr=panels_hr,
        scratch=Array(call.scratch, call.zero, (tasks, ROWS_AT_ONCE, 4, L)),
        d_out=Array(call.d_out, call.zero, (rows, directions * R)),
        d_h_n=Array(call.d_h_n, call.zero, (directions * B, R)),
        D=Array(call.D, call.zero, (directions * units, rows, gradients_of(call), L)),
        dh=Array(call.dh, call.zero, (rows, directions * R)),
        carried=Array(call.carried, call.zero, (directions * units, B, L)),
    )


class Step(NamedTuple):
    """A step of a block of the batch in one direction, as one task computes it.

    Args:
        d: the direction.
        task: whose room for products is used.
        t, before, after: its place in time, and those of the steps from which and to which this direction goes.
        start, end: the first of its sequences, and the one past the last.
        stop: past the last sequence of the block, at whatever step.
        begun: those with a lower number have a step before this one, in this direction.
        going: and those a step after it.
    """

    d: int
    task: int
    t: int
    before: int
    after: int
    start: int
    end: int
    stop: int
    begun: int
    going: int


@jit
def step_of(call, at, task, i):
    """Step i of the block of a task, counted in the direction in which it goes."""
    T, of_direction = call.T, call.blocks * call.shares
    d, block = task // of_direction, task % of_direction // call.shares
    t = T - 1 - i if d else i
    before, after = (t + 1, t - 1) if d else (t - 1, t + 1)
    start, stop = block_bounds(call, block)
    begun = sequences_at(at, before) if i else 0
    going = sequences_at(at, after) if i < T - 1 else 0
    return Step(d, task, t, before, after, start, min(stop, sequences_at(at, t)), stop, begun, going)


@jit
def sequences(at, step, b, n):
    """N sequences of a step from b on."""
    return Some(step.d, b, n, get(at, (step.t,)) + b, get(at, (step.before,)) + b if b < step.begun else -1, step.task)


@jit
def part_of(call, part, count):
    """Which of `count` things are in a part of the units: the first, and the one past the last."""
    return count * part // call.shares, count * (part + 1) // call.shares


class Some(NamedTuple):
    """Some sequences of a step that a kernel computes at once, in one direction.

    Args:
        d: the direction.
        b: the first sequence.
        n: how many.
        row: the row of the first one.
        earlier: its row at the step before in this direction, or -1 where it has none: the state is the initial one.
        task: whose room for products is theirs.
    """

    d: int
    b: int
    n: int
    row: int
    earlier: int
    task: int


@jit
def count_from(b, end, border):
    """How many sequences to take at once from b on: all before a border or all beyond it, in parts of like size."""
    count = (border if b < border < end else end) - b
    parts = (count + ROWS_AT_ONCE - 1) // ROWS_AT_ONCE
    return (count + parts - 1) // parts


@jit
def rows_of(matrix, row, n, column, K):
    """N rows of a matrix, K numbers each from a column on."""
    size = itemsize(matrix)
    place = address(matrix, (row, column), (row + n - 1, column + K - 1))
    return Rows(place, matrix.shape[1] * size, size, K, 1, 0)


@jit
def rows_in_blocks(blocks, count, block, row, n, slot, slots):
    """N rows of some slots, in a count of blocks from one on: block by block they meet a panel each."""
    _, rows, all_slots, L = blocks.shape
    last = block + count - 1, row + n - 1, slot + slots - 1, L - 1
    place = address(blocks, (block, row, slot, 0), last)
    return Rows(place, all_slots * BYTES, itemsize(blocks), slots * L, count, rows * all_slots * BYTES)


@jit
def panel_at(panels, index, row, K):
    """The address of the panel at an index, from a row of it on, of K rows at least."""
    L = lanes(panels.like)
    return address(panels, (*index, row, 0), (*index, row + K - 1, L - 1))


@jit
def room(scratch, some, gate):
    """Where the products of a gate go."""
    L = lanes(scratch.like)
    return address(scratch, (some.task, 0, gate, 0), (some.task, some.n - 1, gate, L - 1))


@jit
def h_before(call, arrays, some, r, u):
    """A block of the hidden state of a row at the step before."""
    L = lanes(call.zero)
    n = call.R - L * u
    if some.earlier >= 0:
        return load_part(arrays.h, (some.earlier + r, some.d * call.R + L * u), n)
    return load_part(arrays.h_0, (some.d * call.B + some.b + r, L * u), n)
