"""The LSTM in Triton: a step, and the walks over all steps. Its gates in order: i, f, g, o."""

import triton
import triton.language as tl

from .functions import sigmoid, tanh
from .products import back, show, weights, with_products
from .walk import count_of, first_row, is_here, load, load_state, steps_of, store, store_state


@triton.jit
def step(a_i, a_f, a_g, a_o, c_prev):
    """The LSTM as in `lstm_cell`: a_i = W_ii x_t + b_ii + W_hi h_{t-1} + b_hi, and so for f, g and o."""
    i = sigmoid(a_i)
    f = sigmoid(a_f)
    g = tanh(a_g)
    o = sigmoid(a_o)
    c = f * c_prev + i * g
    h = o * tanh(c)
    return i, f, g, o, c, h


@triton.jit
def step_back(i, f, g, o, c_prev, dh, dc):
    """dh and dc are the whole gradients of h_t and c_t, from the output and from step t+1.

    dh_{t-1} = W_hi^T da_i + W_hf^T da_f + W_hg^T da_g + W_ho^T da_o + dL/doutput_{t-1}
    """
    tanh_c = tanh(f * c_prev + i * g)
    dc = dc + dh * o * (1 - tanh_c * tanh_c)
    da_i = dc * g * i * (1 - i)
    da_f = dc * c_prev * f * (1 - f)
    da_g = dc * i * (1 - g * g)
    da_o = dh * tanh_c * o * (1 - o)
    dc_prev = dc * f
    return da_i, da_f, da_g, da_o, dc_prev


@triton.jit(do_not_specialize=["T", "B", "rows", "H"])
def forward(
    xp, W_hh_t, h_0, c_0, out, h_n, c_n, kept, at, lengths, T, B, rows, H,
    TILE: tl.constexpr, UNITS: tl.constexpr, BLOCKS: tl.constexpr, PIECE: tl.constexpr, STAGES: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """All steps; kept of each: h_{t-1}, c_{t-1}, i, f, g, o."""
    d, directions = tl.program_id(1), tl.num_programs(1)
    W = weights(W_hh_t, 4 * d, 4, UNITS, BLOCKS, PIECE)
    of_tile = B - tl.program_id(0) * TILE
    h = load_state(h_0, d * B, of_tile, H, TILE, UNITS, BLOCKS)
    c = load_state(c_0, d * B, of_tile, H, TILE, UNITS, BLOCKS)
    steps = steps_of(lengths, T)
    for k in tl.range(steps, num_stages=STAGES):
        t = tl.where(d == 0, k, steps - 1 - k)
        row, count = first_row(at, t, B), count_of(at, t, B, TILE)
        of_d = row + d * rows
        show(h, h_n, d * B, of_tile, H, PIECE)
        h_next, c_next = (), ()
        for block in tl.static_range(BLOCKS):
            first = block * UNITS
            here = is_here(count, H, TILE, UNITS, first)
            a_i = load(xp, of_d, 4, 0, count, H, TILE, UNITS, first)
            a_f = load(xp, of_d, 4, 1, count, H, TILE, UNITS, first)
            a_g = load(xp, of_d, 4, 2, count, H, TILE, UNITS, first)
            a_o = load(xp, of_d, 4, 3, count, H, TILE, UNITS, first)
            of_x = a_i, a_f, a_g, a_o
            a_i, a_f, a_g, a_o = with_products(of_x, h, W, h_n, d * B, of_tile, first, H, PIECE, PRECISION)
            i, f, g, o, c_t, h_t = step(a_i, a_f, a_g, a_o, c[block])
            if kept is not None:
                store(kept, of_d, 6, 0, count, H, h[block], first)
                store(kept, of_d, 6, 1, count, H, c[block], first)
                store(kept, of_d, 6, 2, count, H, i, first)
                store(kept, of_d, 6, 3, count, H, f, first)
                store(kept, of_d, 6, 4, count, H, g, first)
                store(kept, of_d, 6, 5, count, H, o, first)
            store(out, row, directions, d, count, H, h_t, first)
            h_next += (tl.where(here, h_t, h[block]),)
            c_next += (tl.where(here, c_t, c[block]),)
        h, c = h_next, c_next
    store_state(h_n, d * B, of_tile, H, h)
    store_state(c_n, d * B, of_tile, H, c)


@triton.jit(do_not_specialize=["T", "B", "rows", "H"])
def backward(
    W_hh, kept, d_out, d_h_n, d_c_n, da, d_h_0, d_c_0, at, lengths, T, B, rows, H,
    TILE: tl.constexpr, UNITS: tl.constexpr, BLOCKS: tl.constexpr, PIECE: tl.constexpr, STAGES: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """All steps in the opposite order; da of each: da_i, da_f, da_g, da_o."""
    d, directions = tl.program_id(1), tl.num_programs(1)
    W = weights(W_hh, 4 * d, 4, UNITS, BLOCKS, PIECE)
    of_tile = B - tl.program_id(0) * TILE
    dh = load_state(d_h_n, d * B, of_tile, H, TILE, UNITS, BLOCKS)
    dc = load_state(d_c_n, d * B, of_tile, H, TILE, UNITS, BLOCKS)
    steps = steps_of(lengths, T)
    for k in tl.range(steps, num_stages=STAGES):
        t = tl.where(d == 0, steps - 1 - k, k)
        row, count = first_row(at, t, B), count_of(at, t, B, TILE)
        of_d = row + d * rows
        dc_next = ()
        for block in tl.static_range(BLOCKS):
            first = block * UNITS
            here = is_here(count, H, TILE, UNITS, first)
            c_prev = load(kept, of_d, 6, 1, count, H, TILE, UNITS, first)
            i = load(kept, of_d, 6, 2, count, H, TILE, UNITS, first)
            f = load(kept, of_d, 6, 3, count, H, TILE, UNITS, first)
            g = load(kept, of_d, 6, 4, count, H, TILE, UNITS, first)
            o = load(kept, of_d, 6, 5, count, H, TILE, UNITS, first)
            dh_t = dh[block] + load(d_out, row, directions, d, count, H, TILE, UNITS, first)
            da_i, da_f, da_g, da_o, dc_prev = step_back(i, f, g, o, c_prev, dh_t, dc[block])
            store(da, of_d, 4, 0, count, H, da_i, first)
            store(da, of_d, 4, 1, count, H, da_f, first)
            store(da, of_d, 4, 2, count, H, da_g, first)
            store(da, of_d, 4, 3, count, H, da_o, first)
            dc_next += (tl.where(here, dc_prev, dc[block]),)
        dh = back(dh, None, (da_i, da_f, da_g, da_o), W, da, of_d, 4, (0, 1, 2, 3), count, H, PIECE, PRECISION)
        dc = dc_next
    store_state(d_h_0, d * B, of_tile, H, dh)
    store_state(d_c_0, d * B, of_tile, H, dc)
