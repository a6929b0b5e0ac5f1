"""Products with the recurrent weights, which stay on the chip or are read anew at each step, PIECE rows at a time.

They stay where PIECE is None. Else the left factor is read in pieces too, for registers cannot be cut: from memory,
where the threads of the program have put it for each other, h to h_n and da to where it is to go anyway.
"""

import triton
import triton.language as tl

from .walk import is_here, load, store_state


@triton.jit
def weights(matrices, first, GATES: tl.constexpr, UNITS: tl.constexpr, BLOCKS: tl.constexpr, PIECE: tl.constexpr):
    """The matrices of some gates, those of all directions counted: blocks where they stay, else where they lie."""
    found = ()
    for gate in tl.static_range(GATES):
        matrix = matrices + (first + gate) * (UNITS * BLOCKS) * (UNITS * BLOCKS)
        found += (rows_of(matrix, 0, UNITS, 0, UNITS, BLOCKS) if PIECE is None else matrix,)
    return found


@triton.jit
def rows_of(matrix, row, ROWS: tl.constexpr, first, UNITS: tl.constexpr, BLOCKS: tl.constexpr):
    """Some rows of a matrix, of the units from `first` on, in the dtype that it has."""
    begin = matrix + row * (UNITS * BLOCKS) + first
    return tl.load(begin + tl.arange(0, ROWS)[:, None] * (UNITS * BLOCKS) + tl.arange(0, UNITS)[None, :])


@triton.jit
def show(h, h_n, row, count, H, PIECE: tl.constexpr):
    """Put the state where all threads of the program read it, where the weights do not stay."""
    if PIECE is not None:
        tl.debug_barrier()  # all have read that of the step before
        store_state(h_n, row, count, H, h)
        tl.debug_barrier()


@triton.jit
def with_products(
    a, h, W, h_n, row, count, first, H, PIECE: tl.constexpr, PRECISION: tl.constexpr
):  # fmt: skip
    """a + h W of each gate, for the units from `first` on; h rounded to the dtype of W, the sums in float32."""
    TILE: tl.constexpr = a[0].shape[0]
    UNITS: tl.constexpr = a[0].shape[1]
    found = ()
    if PIECE is None:
        for gate in tl.static_range(len(W)):
            found += (a[gate] + tl.dot(h[0].to(W[gate].dtype), W[gate], input_precision=PRECISION),)
    else:
        found = a
        for k in tl.range(0, H, PIECE):
            h_k = load(h_n, row, 1, 0, count, H, TILE, PIECE, k)
            sums = ()
            for gate in tl.static_range(len(W)):
                W_k = rows_of(W[gate], k, PIECE, first, UNITS, len(h))
                sums += (tl.dot(h_k.to(W_k.dtype), W_k, found[gate], input_precision=PRECISION),)
            found = sums
    return found


@triton.jit
def back(
    dh, direct, da, W, array, row, slots, slot, count, H, PIECE: tl.constexpr, PRECISION: tl.constexpr
):  # fmt: skip
    """dh_{t-1}: the sum of da W over the gates, and what comes directly; dh where a sequence does not have the step.

    da of each gate lies in a slot of an array; where the weights stay, it is taken from registers.
    """
    TILE: tl.constexpr = dh[0].shape[0]
    UNITS: tl.constexpr = dh[0].shape[1]
    if PIECE is not None:
        tl.debug_barrier()  # all have written what is read here
    dh_prev = ()
    for block in tl.static_range(len(dh)):
        first = block * UNITS
        here = is_here(count, H, TILE, UNITS, first)
        found = tl.zeros([TILE, UNITS], tl.float32) if direct is None else direct[block]
        if PIECE is None:
            for gate in tl.static_range(len(W)):
                of_H = tl.where(here, da[gate], 0.0).to(W[gate].dtype)
                found = tl.dot(of_H, W[gate], found, input_precision=PRECISION)
        else:
            for k in tl.range(0, H, PIECE):
                for gate in tl.static_range(len(W)):
                    W_k = rows_of(W[gate], k, PIECE, first, UNITS, len(dh))
                    da_k = load(array, row, slots, slot[gate], count, H, TILE, PIECE, k)
                    da_k = tl.where((k + tl.arange(0, PIECE) < H)[None, :], da_k, 0.0).to(W_k.dtype)
                    found = tl.dot(da_k, W_k, found, input_precision=PRECISION)
        dh_prev += (tl.where(here, found, dh[block]),)
    return dh_prev
