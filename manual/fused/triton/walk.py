"""What the kernels have in common: which rows a step has, and where they lie.

Program (p, d) takes the sequences from TILE * p on through all steps in direction d: direction 0 from the first step to
the last, direction 1 from the last to the first, each sequence from its own last one. Rows lie step below step, as in
packed data, and every array is (rows, slots, H), contiguous:

    xp         rows (direction, row)       a slot for each gate: W_ih x + b_ih
    kept, da   rows (direction, row)       what the backward pass needs of a step, and the gradients that it finds
    out        rows (row)                  a slot for each direction
    h_0, h_n   rows (direction, sequence)  one slot, and so c_0 and c_n
    b_hh       rows (direction, gate)

W_hh and its transpose lie there for each direction and gate, with zeros up to (UNITS, UNITS).

A block is TILE rows of one slot with the units widened to UNITS, a power of two. What lies beyond H, or belongs to a
sequence that the step does not have, is read as 0 and not written.
"""

import triton
import triton.language as tl


@triton.jit
def steps_of(lengths, T):
    """How many steps the program has: those of its first sequence, the longest."""
    return T if lengths is None else tl.load(lengths + tl.program_id(0)).to(tl.int32)


@triton.jit
def first_row(at, t, B):
    """The row of the first sequence at step t."""
    return t.to(tl.int64) * B if at is None else tl.load(at + t)


@triton.jit
def count_of(at, t, B, TILE: tl.constexpr):
    """How many sequences of the tile step t has; TILE or more where it has all."""
    size = B if at is None else (tl.load(at + t + 1) - tl.load(at + t)).to(tl.int32)
    return size - tl.program_id(0) * TILE


@triton.jit
def is_here(count, H, TILE: tl.constexpr, UNITS: tl.constexpr):
    """Which numbers of a block there are."""
    return (tl.arange(0, TILE) < count)[:, None] & (tl.arange(0, UNITS) < H)[None, :]


@triton.jit
def places(array, row, slots, slot, H, TILE: tl.constexpr, UNITS: tl.constexpr):
    """Where the numbers of a block are: those of one slot, in the rows of the tile from `row` on."""
    first = array + ((row + tl.program_id(0) * TILE) * slots + slot) * H
    return first + tl.arange(0, TILE)[:, None] * (slots * H) + tl.arange(0, UNITS)[None, :]


@triton.jit
def load(array, row, slots, slot, here, H, TILE: tl.constexpr, UNITS: tl.constexpr):
    """A block, in float32; zeros of an array that is absent."""
    if array is None:
        block = tl.zeros([TILE, UNITS], tl.float32)
    else:
        block = tl.load(places(array, row, slots, slot, H, TILE, UNITS), here, 0.0).to(tl.float32)
    return block


@triton.jit
def store(array, row, slots, slot, here, H, block):
    """Write a block, rounded to the dtype of the array."""
    tl.store(places(array, row, slots, slot, H, block.shape[0], block.shape[1]), block.to(array.dtype.element_ty), here)


@triton.jit
def weights(matrices, gate, UNITS: tl.constexpr):
    """The matrix of one gate, those of all directions counted, in the dtype that it has."""
    row, column = tl.arange(0, UNITS)[:, None], tl.arange(0, UNITS)[None, :]
    return tl.load(matrices + (gate * UNITS + row) * UNITS + column)


@triton.jit
def bias(b_hh, gate, H, UNITS: tl.constexpr):
    """The bias of a gate, (1, hidden); zeros where there is none."""
    unit = tl.arange(0, UNITS)[None, :]
    if b_hh is None:
        numbers = tl.zeros([1, UNITS], tl.float32)
    else:
        numbers = tl.load(b_hh + gate * H + unit, unit < H, 0.0).to(tl.float32)
    return numbers
