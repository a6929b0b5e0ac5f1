"""The GRU in Triton: a step, and the walks over all steps. Its gates in order: r, z, n."""

import triton
import triton.language as tl

from .functions import sigmoid, tanh, times
from .walk import bias, count_of, first_row, is_here, load, steps_of, store, weights


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


@triton.jit(do_not_specialize=["T", "B", "rows"])
def forward(
    xp, W_hh_t, b_hh, h_0, out, h_n, kept, at, lengths, T, B, rows, H,
    TILE: tl.constexpr, UNITS: tl.constexpr, STAGES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """All steps; kept of each: h_{t-1}, r, z, n, m."""
    d, directions = tl.program_id(1), tl.num_programs(1)
    W_hr, b_hr = weights(W_hh_t, 3 * d, UNITS), bias(b_hh, 3 * d, H, UNITS)
    W_hz, b_hz = weights(W_hh_t, 3 * d + 1, UNITS), bias(b_hh, 3 * d + 1, H, UNITS)
    W_hn, b_hn = weights(W_hh_t, 3 * d + 2, UNITS), bias(b_hh, 3 * d + 2, H, UNITS)
    of_tile = is_here(B - tl.program_id(0) * TILE, H, TILE, UNITS)
    h = load(h_0, d * B, 1, 0, of_tile, H, TILE, UNITS)
    steps = steps_of(lengths, T)
    for k in tl.range(steps, num_stages=STAGES):
        t = tl.where(d == 0, k, steps - 1 - k)
        row, here = first_row(at, t, B), is_here(count_of(at, t, B, TILE), H, TILE, UNITS)
        of_d = row + d * rows
        a_r = load(xp, of_d, 3, 0, here, H, TILE, UNITS) + (times(h, W_hr, PRECISION) + b_hr)
        a_z = load(xp, of_d, 3, 1, here, H, TILE, UNITS) + (times(h, W_hz, PRECISION) + b_hz)
        a_n = load(xp, of_d, 3, 2, here, H, TILE, UNITS)
        m = times(h, W_hn, PRECISION) + b_hn
        r, z, n, h_t = step(a_r, a_z, a_n, m, h)
        if kept is not None:
            store(kept, of_d, 5, 0, here, H, h)
            store(kept, of_d, 5, 1, here, H, r)
            store(kept, of_d, 5, 2, here, H, z)
            store(kept, of_d, 5, 3, here, H, n)
            store(kept, of_d, 5, 4, here, H, m)
        store(out, row, directions, d, here, H, h_t)
        h = tl.where(here, h_t, h)
    store(h_n, d * B, 1, 0, of_tile, H, h)


@triton.jit(do_not_specialize=["T", "B", "rows"])
def backward(
    W_hh, kept, d_out, d_h_n, da, d_h_0, at, lengths, T, B, rows, H,
    TILE: tl.constexpr, UNITS: tl.constexpr, STAGES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """All steps in the opposite order; da of each: da_r, da_z, da_n, dm."""
    d, directions = tl.program_id(1), tl.num_programs(1)
    W_hr, W_hz = weights(W_hh, 3 * d, UNITS), weights(W_hh, 3 * d + 1, UNITS)
    W_hn = weights(W_hh, 3 * d + 2, UNITS)
    of_tile = is_here(B - tl.program_id(0) * TILE, H, TILE, UNITS)
    dh = load(d_h_n, d * B, 1, 0, of_tile, H, TILE, UNITS)
    steps = steps_of(lengths, T)
    for k in tl.range(steps, num_stages=STAGES):
        t = tl.where(d == 0, steps - 1 - k, k)
        row, here = first_row(at, t, B), is_here(count_of(at, t, B, TILE), H, TILE, UNITS)
        of_d = row + d * rows
        h_prev = load(kept, of_d, 5, 0, here, H, TILE, UNITS)
        r = load(kept, of_d, 5, 1, here, H, TILE, UNITS)
        z = load(kept, of_d, 5, 2, here, H, TILE, UNITS)
        n = load(kept, of_d, 5, 3, here, H, TILE, UNITS)
        m = load(kept, of_d, 5, 4, here, H, TILE, UNITS)
        dh_t = dh + load(d_out, row, directions, d, here, H, TILE, UNITS)
        da_r, da_z, da_n, dm, dh_z = step_back(r, z, n, m, h_prev, dh_t)
        store(da, of_d, 4, 0, here, H, da_r)
        store(da, of_d, 4, 1, here, H, da_z)
        store(da, of_d, 4, 2, here, H, da_n)
        store(da, of_d, 4, 3, here, H, dm)
        dh_prev = times(da_r, W_hr, PRECISION) + times(da_z, W_hz, PRECISION) + times(dm, W_hn, PRECISION) + dh_z
        dh = tl.where(here, dh_prev, dh)
    store(d_h_0, d * B, 1, 0, of_tile, H, dh)
