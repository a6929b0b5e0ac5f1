"""The Elman RNN in Triton: a step, and the walks over all steps."""

import triton
import triton.language as tl

from .functions import relu, tanh, times
from .walk import bias, count_of, first_row, is_here, load, steps_of, store, weights


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


@triton.jit(do_not_specialize=["T", "B", "rows"])
def forward(
    xp, W_hh_t, b_hh, h_0, out, h_n, kept, at, lengths, T, B, rows, H,
    TILE: tl.constexpr, UNITS: tl.constexpr, STAGES: tl.constexpr, PRECISION: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """All steps; kept of each: h_{t-1}, h_t."""
    d, directions = tl.program_id(1), tl.num_programs(1)
    W, b = weights(W_hh_t, d, UNITS), bias(b_hh, d, H, UNITS)
    of_tile = is_here(B - tl.program_id(0) * TILE, H, TILE, UNITS)
    h = load(h_0, d * B, 1, 0, of_tile, H, TILE, UNITS)
    steps = steps_of(lengths, T)
    for k in tl.range(steps, num_stages=STAGES):
        t = tl.where(d == 0, k, steps - 1 - k)
        row, here = first_row(at, t, B), is_here(count_of(at, t, B, TILE), H, TILE, UNITS)
        of_d = row + d * rows
        a = load(xp, of_d, 1, 0, here, H, TILE, UNITS) + (times(h, W, PRECISION) + b)
        h_t = step(a, RELU)
        if kept is not None:
            store(kept, of_d, 2, 0, here, H, h)
            store(kept, of_d, 2, 1, here, H, h_t)
        store(out, row, directions, d, here, H, h_t)
        h = tl.where(here, h_t, h)
    store(h_n, d * B, 1, 0, of_tile, H, h)


@triton.jit(do_not_specialize=["T", "B", "rows"])
def backward(
    W_hh, kept, d_out, d_h_n, da, d_h_0, at, lengths, T, B, rows, H,
    TILE: tl.constexpr, UNITS: tl.constexpr, STAGES: tl.constexpr, PRECISION: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """All steps in the opposite order."""
    d, directions = tl.program_id(1), tl.num_programs(1)
    W = weights(W_hh, d, UNITS)
    of_tile = is_here(B - tl.program_id(0) * TILE, H, TILE, UNITS)
    dh = load(d_h_n, d * B, 1, 0, of_tile, H, TILE, UNITS)
    steps = steps_of(lengths, T)
    for k in tl.range(steps, num_stages=STAGES):
        t = tl.where(d == 0, steps - 1 - k, k)
        row, here = first_row(at, t, B), is_here(count_of(at, t, B, TILE), H, TILE, UNITS)
        of_d = row + d * rows
        h_t = load(kept, of_d, 2, 1, here, H, TILE, UNITS)
        dh_t = dh + load(d_out, row, directions, d, here, H, TILE, UNITS)
        da_t = step_back(h_t, dh_t, RELU)
        store(da, of_d, 1, 0, here, H, da_t)
        dh = tl.where(here, times(da_t, W, PRECISION), dh)
    store(d_h_0, d * B, 1, 0, of_tile, H, dh)
