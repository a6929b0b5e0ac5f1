"""What the kernels have in common: which rows a step has, and where they lie.

Program (p, d) takes the sequences from TILE * p on through all steps in direction d: direction 0 from the first step to
the last, direction 1 from the last to the first, each sequence from its own last one. Rows lie step below step, as in
packed data, and every array is (rows, slots, units), contiguous, H widened to a multiple of 16:

    xp         rows (direction, row)       a slot for each gate: W_ih x + b_ih + b_hh, of the GRU's n without b_hn
    kept, da   rows (direction, row)       what the backward pass needs of a step, and the gradients that it finds
    out        rows (row)                  a slot for each direction
    h_0, h_n   rows (direction, sequence)  one slot, and so c_0 and c_n
    b_hn       rows (direction)

W_hh and its transpose lie there for each direction and gate, with zeros up to (BLOCKS * UNITS, BLOCKS * UNITS).

A block is TILE rows of one slot and UNITS of its units from the `first` on, a power of two: BLOCKS of them hold H. What
belongs to a sequence that the step does not have is read as 0 and not written. What lies beyond H is 0 in states and
weights, and anything elsewhere, even NaN: it is left out of what is multiplied, and of the next state.
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
def is_here(count, H, TILE: tl.constexpr, UNITS: tl.constexpr, first=0):
    """Which numbers of a block there are, whose first unit is that one."""
    return (tl.arange(0, TILE) < count)[:, None] & (first + tl.arange(0, UNITS) < H)[None, :]


@triton.jit
def widened(H):
    """How many units the arrays have: H, or the next multiple of 16, so that memory is accessed by 16 bytes."""
    return (H + 15) // 16 * 16


@triton.jit
def places(array, row, slots, slot, H, TILE: tl.constexpr, UNITS: tl.constexpr, first=0):
    """Where the numbers of a block are: those of one slot, in the rows of the tile from `row` on."""
    width = widened(H)
    begin = array + ((row + tl.program_id(0) * TILE) * slots + slot) * width + first
    return begin + tl.arange(0, TILE)[:, None] * (slots * width) + tl.arange(0, UNITS)[None, :]


@triton.jit
def load(array, row, slots, slot, count, H, TILE: tl.constexpr, UNITS: tl.constexpr, first=0):
    """A block, in float32; zeros of an array that is absent."""
    if array is None:
        block = tl.zeros([TILE, UNITS], tl.float32)
    else:
        there = is_here(count, widened(H), TILE, UNITS, first)
        block = tl.load(places(array, row, slots, slot, H, TILE, UNITS, first), there, 0.0).to(tl.float32)
    return block


@triton.jit
def store(array, row, slots, slot, count, H, block, first=0):
    """Write a block, rounded to the dtype of the array."""
    TILE: tl.constexpr = block.shape[0]
    UNITS: tl.constexpr = block.shape[1]
    there = is_here(count, widened(H), TILE, UNITS, first)
    tl.store(places(array, row, slots, slot, H, TILE, UNITS, first), block.to(array.dtype.element_ty), there)


@triton.jit
def load_state(array, row, count, H, TILE: tl.constexpr, UNITS: tl.constexpr, BLOCKS: tl.constexpr):
    """The state of all sequences of the tile, a block for some units after the other."""
    blocks = ()
    for block in tl.static_range(BLOCKS):
        first = block * UNITS
        blocks += (load(array, row, 1, 0, count, H, TILE, UNITS, first),)
    return blocks


@triton.jit
def store_state(array, row, count, H, blocks):
    """Write the state of all sequences of the tile."""
    for block in tl.static_range(len(blocks)):
        first = block * blocks[block].shape[1]
        store(array, row, 1, 0, count, H, blocks[block], first)


@triton.jit
def biases(b_hn, d, H, TILE: tl.constexpr, UNITS: tl.constexpr, BLOCKS: tl.constexpr):
    """The bias of a direction as blocks, the same in each row; zeros where there is none."""
    blocks = ()
    for block in tl.static_range(BLOCKS):
        unit = block * UNITS + tl.arange(0, UNITS)[None, :]
        if b_hn is None:
            blocks += (tl.zeros([TILE, UNITS], tl.float32),)
        else:
            numbers = tl.load(b_hn + d * widened(H) + unit, unit < H, 0.0).to(tl.float32)
            blocks += (tl.broadcast_to(numbers, [TILE, UNITS]),)
    return blocks
