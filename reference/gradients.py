"""The gradients: one step of each cell of `equations` backwards, by the chain rule.

dx is the gradient of the loss with respect to x, da that with respect to a gate before its activation:

    da = dy * y * (1 - y)  where y = sigma(a),      da = dy * (1 - y * y)  where y = tanh(a)

Each takes dh and dc, the gradients of h_t and c_t, and what the step saved.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .equations import Gates, Hidden
from .rounding import concatenate, masked

# da_ih, da_hh, the gradient of h_prev beside that through a_hh, the gradient of c_prev
Gradients = tuple[Gates, Gates, Hidden | None, Hidden | None]


def rnn_tanh(dh: Hidden, dc: None, saved: tuple[Any, ...]) -> Gradients:
    """Differentiate h_t = tanh(a_ih + a_hh)."""
    (h_t,) = saved
    da = dh * (1 - h_t * h_t)
    return da, da, None, None


def rnn_relu(dh: Hidden, dc: None, saved: tuple[Any, ...]) -> Gradients:
    """Differentiate h_t = relu(a_ih + a_hh)."""
    (slope,) = saved
    da = masked(dh, slope)
    return da, da, None, None


def gru(dh: Hidden, dc: None, saved: tuple[Any, ...]) -> Gradients:
    """Differentiate h_t = (1 - z) * n + z * h_prev, with n = tanh(ih_n + r * hh_n)."""
    r, z, n, hh_n, h_prev = saved
    dn = dh * (1 - z)
    dz = dh * h_prev - dh * n
    da_n = dn * (1 - n * n)
    da_r = da_n * hh_n * (r * (1 - r))
    da_z = dz * (z * (1 - z))
    da_ih = concatenate((da_r, da_z, da_n))
    da_hh = concatenate((da_r, da_z, da_n * r))
    return da_ih, da_hh, dh * z, None


def gru_reset_before(dh: Hidden, dc: None, saved: tuple[Any, ...]) -> Gradients:
    """Differentiate h_t = (1 - z) * n + z * h_prev, with n = tanh(ih_n + W_hn (r * h_prev) + b_hn)."""
    r, z, n, h_prev, recurrent = saved
    dn = dh * (1 - z)
    dz = dh * h_prev - dh * n
    da_n = dn * (1 - n * n)
    da_z = dz * (z * (1 - z))
    none = masked(da_n, np.zeros(()))
    d_reset = recurrent.back(concatenate((none, none, da_n)), None)  # the gradient of r * h_prev
    da_r = d_reset * h_prev * (r * (1 - r))
    da_ih = concatenate((da_r, da_z, da_n))
    return da_ih, concatenate((da_r, da_z, none)), dh * z + d_reset * r, None


def lstm(dh: Hidden, dc: Hidden, saved: tuple[Any, ...]) -> Gradients:
    """Differentiate c_t = f * c_prev + i * g and h_t = o * tanh(c_t)."""
    i, f, g, o, c_prev, tanh_c = saved
    dc = dc + dh * o * (1 - tanh_c * tanh_c)
    da_i = dc * g * (i * (1 - i))
    da_f = dc * c_prev * (f * (1 - f))
    da_g = dc * i * (1 - g * g)
    da_o = dh * tanh_c * (o * (1 - o))
    da = concatenate((da_i, da_f, da_g, da_o))
    return da, da, None, dc * f
