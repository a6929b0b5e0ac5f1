"""The Elman RNN in Triton: a step, and the walks over all steps."""

import triton
import triton.language as tl

from .functions import relu, tanh
from .products import back, show, weights, with_products
from .walk import count_of, first_row, is_here, load, load_state, steps_of, store, store_state


@triton.jit
def step(a, RELU: tl.constexpr):
    """h_t = tanh(a_t) or relu(a_t), with a_t = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh."""
    return relu(a) if RELU else tanh(a)


@triton.jit
def step_back(h, dh, RELU: tl.constexpr):
    """da_t = dh_t (1 - h_t^2), or dh_t where h_t > 0 and 0 elsewhere: where h_t is NaN, dh_t passes.

    dh_{t-1} = W_hh^T da_t + dL/doutput_{t-1}
    """
    return tl.where(h <= 0, 0.0, dh) if RELU else dh * (1 - h * h)


@triton.jit(do_not_specialize=["T", "B", "rows", "H"])
def forward(
    xp, W_hh_t, h_0, out, h_n, kept, at, lengths, T, B, rows, H,
    TILE: tl.constexpr, UNITS: tl.constexpr, BLOCKS: tl.constexpr, PIECE: tl.constexpr, STAGES: tl.constexpr,
    PRECISION: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """All steps; kept of each: h_{t-1}, h_t."""
    d, directions = tl.program_id(1), tl.num_programs(1)
    W = weights(W_hh_t, d, 1, UNITS, BLOCKS, PIECE)
    of_tile = B - tl.program_id(0) * TILE
    h = load_state(h_0, d * B, of_tile, H, TILE, UNITS, BLOCKS)
    steps = steps_of(lengths, T)
    for k in tl.range(steps, num_stages=STAGES):
        t = tl.where(d == 0, k, steps - 1 - k)
        row, count = first_row(at, t, B), count_of(at, t, B, TILE)
        of_d = row + d * rows
        show(h, h_n, d * B, of_tile, H, PIECE)
        h_next = ()
        for block in tl.static_range(BLOCKS):
            first = block * UNITS
            here = is_here(count, H, TILE, UNITS, first)
            a = load(xp, of_d, 1, 0, count, H, TILE, UNITS, first)
            (a,) = with_products((a,), h, W, h_n, d * B, of_tile, first, H, PIECE, PRECISION)
            h_t = step(a, RELU)
            if kept is not None:
                store(kept, of_d, 2, 0, count, H, h[block], first)
                store(kept, of_d, 2, 1, count, H, h_t, first)
            store(out, row, directions, d, count, H, h_t, first)
            h_next += (tl.where(here, h_t, h[block]),)
        h = h_next
    store_state(h_n, d * B, of_tile, H, h)


@triton.jit(do_not_specialize=["T", "B", "rows", "H"])
def backward(
    W_hh, kept, d_out, d_h_n, da, d_h_0, at, lengths, T, B, rows, H,
    TILE: tl.constexpr, UNITS: tl.constexpr, BLOCKS: tl.constexpr, PIECE: tl.constexpr, STAGES: tl.constexpr,
    PRECISION: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """All steps in the opposite order."""
    d, directions = tl.program_id(1), tl.num_programs(1)
    W = weights(W_hh, d, 1, UNITS, BLOCKS, PIECE)
    of_tile = B - tl.program_id(0) * TILE
    dh = load_state(d_h_n, d * B, of_tile, H, TILE, UNITS, BLOCKS)
    steps = steps_of(lengths, T)
    for k in tl.range(steps, num_stages=STAGES):
        t = tl.where(d == 0, steps - 1 - k, k)
        row, count = first_row(at, t, B), count_of(at, t, B, TILE)
        of_d = row + d * rows
        for block in tl.static_range(BLOCKS):
            first = block * UNITS
            h_t = load(kept, of_d, 2, 1, count, H, TILE, UNITS, first)
            dh_t = dh[block] + load(d_out, row, directions, d, count, H, TILE, UNITS, first)
            da_t = step_back(h_t, dh_t, RELU)
            store(da, of_d, 1, 0, count, H, da_t, first)
        dh = back(dh, None, (da_t,), W, da, of_d, 1, (0,), count, H, PIECE, PRECISION)
    store_state(d_h_0, d * B, of_tile, H, dh)
