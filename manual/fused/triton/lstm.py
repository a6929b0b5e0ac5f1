"""The LSTM in Triton: a step, and the walks over all steps. Its gates in order: i, f, g, o."""

import triton
import triton.language as tl

from .functions import sigmoid, tanh, times
from .walk import bias, count_of, first_row, is_here, load, steps_of, store, weights


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


@triton.jit(do_not_specialize=["T", "B", "rows"])
def forward(
    xp, W_hh_t, b_hh, h_0, c_0, out, h_n, c_n, kept, at, lengths, T, B, rows, H,
    TILE: tl.constexpr, UNITS: tl.constexpr, STAGES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """All steps; kept of each: h_{t-1}, c_{t-1}, i, f, g, o."""
    d, directions = tl.program_id(1), tl.num_programs(1)
    W_hi, b_hi = weights(W_hh_t, 4 * d, UNITS), bias(b_hh, 4 * d, H, UNITS)
    W_hf, b_hf = weights(W_hh_t, 4 * d + 1, UNITS), bias(b_hh, 4 * d + 1, H, UNITS)
    W_hg, b_hg = weights(W_hh_t, 4 * d + 2, UNITS), bias(b_hh, 4 * d + 2, H, UNITS)
    W_ho, b_ho = weights(W_hh_t, 4 * d + 3, UNITS), bias(b_hh, 4 * d + 3, H, UNITS)
    of_tile = is_here(B - tl.program_id(0) * TILE, H, TILE, UNITS)
    h = load(h_0, d * B, 1, 0, of_tile, H, TILE, UNITS)
    c = load(c_0, d * B, 1, 0, of_tile, H, TILE, UNITS)
    steps = steps_of(lengths, T)
    for k in tl.range(steps, num_stages=STAGES):
        t = tl.where(d == 0, k, steps - 1 - k)
        row, here = first_row(at, t, B), is_here(count_of(at, t, B, TILE), H, TILE, UNITS)
        of_d = row + d * rows
        a_i = load(xp, of_d, 4, 0, here, H, TILE, UNITS) + (times(h, W_hi, PRECISION) + b_hi)
        a_f = load(xp, of_d, 4, 1, here, H, TILE, UNITS) + (times(h, W_hf, PRECISION) + b_hf)
        a_g = load(xp, of_d, 4, 2, here, H, TILE, UNITS) + (times(h, W_hg, PRECISION) + b_hg)
        a_o = load(xp, of_d, 4, 3, here, H, TILE, UNITS) + (times(h, W_ho, PRECISION) + b_ho)
        i, f, g, o, c_t, h_t = step(a_i, a_f, a_g, a_o, c)
        if kept is not None:
            store(kept, of_d, 6, 0, here, H, h)
            store(kept, of_d, 6, 1, here, H, c)
            store(kept, of_d, 6, 2, here, H, i)
            store(kept, of_d, 6, 3, here, H, f)
            store(kept, of_d, 6, 4, here, H, g)
            store(kept, of_d, 6, 5, here, H, o)
        store(out, row, directions, d, here, H, h_t)
        h, c = tl.where(here, h_t, h), tl.where(here, c_t, c)
    store(h_n, d * B, 1, 0, of_tile, H, h)
    store(c_n, d * B, 1, 0, of_tile, H, c)


@triton.jit(do_not_specialize=["T", "B", "rows"])
def backward(
    W_hh, kept, d_out, d_h_n, d_c_n, da, d_h_0, d_c_0, at, lengths, T, B, rows, H,
    TILE: tl.constexpr, UNITS: tl.constexpr, STAGES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """All steps in the opposite order; da of each: da_i, da_f, da_g, da_o."""
    d, directions = tl.program_id(1), tl.num_programs(1)
    W_hi, W_hf = weights(W_hh, 4 * d, UNITS), weights(W_hh, 4 * d + 1, UNITS)
    W_hg, W_ho = weights(W_hh, 4 * d + 2, UNITS), weights(W_hh, 4 * d + 3, UNITS)
    of_tile = is_here(B - tl.program_id(0) * TILE, H, TILE, UNITS)
    dh = load(d_h_n, d * B, 1, 0, of_tile, H, TILE, UNITS)
    dc = load(d_c_n, d * B, 1, 0, of_tile, H, TILE, UNITS)
    steps = steps_of(lengths, T)
    for k in tl.range(steps, num_stages=STAGES):
        t = tl.where(d == 0, steps - 1 - k, k)
        row, here = first_row(at, t, B), is_here(count_of(at, t, B, TILE), H, TILE, UNITS)
        of_d = row + d * rows
        c_prev = load(kept, of_d, 6, 1, here, H, TILE, UNITS)
        i = load(kept, of_d, 6, 2, here, H, TILE, UNITS)
        f = load(kept, of_d, 6, 3, here, H, TILE, UNITS)
        g = load(kept, of_d, 6, 4, here, H, TILE, UNITS)
        o = load(kept, of_d, 6, 5, here, H, TILE, UNITS)
        dh_t = dh + load(d_out, row, directions, d, here, H, TILE, UNITS)
        da_i, da_f, da_g, da_o, dc_prev = step_back(i, f, g, o, c_prev, dh_t, dc)
        store(da, of_d, 4, 0, here, H, da_i)
        store(da, of_d, 4, 1, here, H, da_f)
        store(da, of_d, 4, 2, here, H, da_g)
        store(da, of_d, 4, 3, here, H, da_o)
        dh_prev = times(da_i, W_hi, PRECISION) + times(da_f, W_hf, PRECISION)
        dh_prev += times(da_g, W_hg, PRECISION) + times(da_o, W_ho, PRECISION)
        dh, dc = tl.where(here, dh_prev, dh), tl.where(here, dc_prev, dc)
    store(d_h_0, d * B, 1, 0, of_tile, H, dh)
    store(d_c_0, d * B, 1, 0, of_tile, H, dc)
