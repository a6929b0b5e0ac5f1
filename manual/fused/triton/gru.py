"""The GRU in Triton: a step, and the walks over all steps. Its gates in order: r, z, n."""

import triton
import triton.language as tl

from .functions import sigmoid, tanh
from .products import back, show, weights, with_products
from .walk import biases, count_of, first_row, is_here, load, load_state, steps_of, store, store_state


@triton.jit
def step(a_r, a_z, a_n, m, h_prev):
    """The GRU whose reset gate is applied after the recurrent product, as in `gru_cell`.

    a_r = W_ir x_t + b_ir + W_hr h_{t-1} + b_hr, and so for z
    a_n = W_in x_t + b_in
    m   = W_hn h_{t-1} + b_hn
    """
    r = sigmoid(a_r)
    z = sigmoid(a_z)
    n = tanh(a_n + r * m)
    h = (1 - z) * n + z * h_prev
    return r, z, n, h


@triton.jit
def step_back(r, z, n, m, h_prev, dh):
    """dh is the whole gradient of h_t, from the output and from step t+1.

    dh_{t-1} = dh z + W_hr^T da_r + W_hz^T da_z + W_hn^T dm + dL/doutput_{t-1}
    """
    da_n = dh * (1 - z) * (1 - n * n)
    dm = da_n * r
    da_r = da_n * m * r * (1 - r)
    da_z = dh * (h_prev - n) * z * (1 - z)
    return da_r, da_z, da_n, dm, dh * z


@triton.jit(do_not_specialize=["T", "B", "rows", "H"])
def forward(
    xp, W_hh_t, b_hn, h_0, out, h_n, kept, at, lengths, T, B, rows, H,
    TILE: tl.constexpr, UNITS: tl.constexpr, BLOCKS: tl.constexpr, PIECE: tl.constexpr, STAGES: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """All steps; kept of each: h_{t-1}, r, z, n, m."""
    d, directions = tl.program_id(1), tl.num_programs(1)
    W, b = weights(W_hh_t, 3 * d, 3, UNITS, BLOCKS, PIECE), biases(b_hn, d, H, TILE, UNITS, BLOCKS)
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
            a_r = load(xp, of_d, 3, 0, count, H, TILE, UNITS, first)
            a_z = load(xp, of_d, 3, 1, count, H, TILE, UNITS, first)
            a_n = load(xp, of_d, 3, 2, count, H, TILE, UNITS, first)
            a_r, a_z, m = with_products((a_r, a_z, b[block]), h, W, h_n, d * B, of_tile, first, H, PIECE, PRECISION)
            r, z, n, h_t = step(a_r, a_z, a_n, m, h[block])
            if kept is not None:
                store(kept, of_d, 5, 0, count, H, h[block], first)
                store(kept, of_d, 5, 1, count, H, r, first)
                store(kept, of_d, 5, 2, count, H, z, first)
                store(kept, of_d, 5, 3, count, H, n, first)
                store(kept, of_d, 5, 4, count, H, m, first)
            store(out, row, directions, d, count, H, h_t, first)
            h_next += (tl.where(here, h_t, h[block]),)
        h = h_next
    store_state(h_n, d * B, of_tile, H, h)


@triton.jit(do_not_specialize=["T", "B", "rows", "H"])
def backward(
    W_hh, kept, d_out, d_h_n, da, d_h_0, at, lengths, T, B, rows, H,
    TILE: tl.constexpr, UNITS: tl.constexpr, BLOCKS: tl.constexpr, PIECE: tl.constexpr, STAGES: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """All steps in the opposite order; da of each: da_r, da_z, da_n, dm."""
    d, directions = tl.program_id(1), tl.num_programs(1)
    W = weights(W_hh, 3 * d, 3, UNITS, BLOCKS, PIECE)
    of_tile = B - tl.program_id(0) * TILE
    dh = load_state(d_h_n, d * B, of_tile, H, TILE, UNITS, BLOCKS)
    steps = steps_of(lengths, T)
    for k in tl.range(steps, num_stages=STAGES):
        t = tl.where(d == 0, steps - 1 - k, k)
        row, count = first_row(at, t, B), count_of(at, t, B, TILE)
        of_d = row + d * rows
        direct = ()
        for block in tl.static_range(BLOCKS):
            first = block * UNITS
            h_prev = load(kept, of_d, 5, 0, count, H, TILE, UNITS, first)
            r = load(kept, of_d, 5, 1, count, H, TILE, UNITS, first)
            z = load(kept, of_d, 5, 2, count, H, TILE, UNITS, first)
            n = load(kept, of_d, 5, 3, count, H, TILE, UNITS, first)
            m = load(kept, of_d, 5, 4, count, H, TILE, UNITS, first)
            dh_t = dh[block] + load(d_out, row, directions, d, count, H, TILE, UNITS, first)
            da_r, da_z, da_n, dm, dh_z = step_back(r, z, n, m, h_prev, dh_t)
            store(da, of_d, 4, 0, count, H, da_r, first)
            store(da, of_d, 4, 1, count, H, da_z, first)
            store(da, of_d, 4, 2, count, H, da_n, first)
            store(da, of_d, 4, 3, count, H, dm, first)
            direct += (dh_z,)
        dh = back(dh, direct, (da_r, da_z, dm), W, da, of_d, 4, (0, 1, 3), count, H, PIECE, PRECISION)
    store_state(d_h_0, d * B, of_tile, H, dh)
