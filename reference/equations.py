"""The oracle: RNN, GRU and LSTM in NumPy, forward and backward written out, in any precision.

A layer is its cell's equations over time. With a_ih = W_ih x_t + b_ih and a_hh = W_hh h_{t-1} + b_hh

    RNN    h_t = tanh(a_ih + a_hh)  or  relu(a_ih + a_hh)

    GRU    r_t = sigma(a_ih_r + a_hh_r)
           z_t = sigma(a_ih_z + a_hh_z)
           n_t = tanh(a_ih_n + r_t * a_hh_n)          (the reset gate acts after the product)
           h_t = (1 - z_t) * n_t + z_t * h_{t-1}

    LSTM   i_t, f_t, o_t = sigma(a_ih + a_hh),  g_t = tanh(a_ih_g + a_hh_g)
           c_t = f_t * c_{t-1} + i_t * g_t
           h_t = o_t * tanh(c_t),  with a projection  h_t = W_hr (o_t * tanh(c_t))

Every array carries the axes (..., copies, directions, rows, features): both directions run at once, and so do
the copies that the tolerance perturbs. `rounding` is called on each intermediate result; the default leaves it
exact. No code is shared with PyTorch, and none with `manual/`.

Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html (and .GRU, .RNN);
Hochreiter and Schmidhuber 1997; Cho et al. 2014, with the reset gate where cuDNN has it.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray

Array = NDArray[Any]
Gates = Shaped[np.ndarray, "copies directions batch gates"]  # before their activation
Hidden = Shaped[np.ndarray, "copies directions batch hidden"]
State = Shaped[np.ndarray, "copies directions batch state"]  # proj_size where there is a projection, else hidden


@runtime_checkable
class Rounding(Protocol):
    """What happens to an intermediate result: nothing, or the noise of a given precision."""

    copies: int

    def __call__(self, x: Array) -> Array:
        """Round a product or a sum: noise relative to x, which is a fresh array."""

    def activation(self, x: Array, a: Array) -> Array:
        """Round x, the tanh or sigma of a: noise relative to 1, however they are evaluated."""

    def kink(self, x: Array) -> Array:
        """Return x with its zeros moved to either side: at a kink any slope in between is right."""

    def total(self, x: Array, steps: int, rows: int) -> Array:
        """Round a sum over so many steps and rows of the batch: equal terms round alike, and their errors add up."""


class Exact:
    """Leaves every intermediate result as it is."""

    copies = 1

    def __call__(self, x: Array) -> Array:
        """Return x."""
        return x

    kink = __call__

    def activation(self, x: Array, a: Array) -> Array:
        """Return x."""
        return x

    def total(self, x: Array, steps: int, rows: int) -> Array:
        """Return x."""
        return x


def sigma(x: Shaped[np.ndarray, "*axes"]) -> Shaped[np.ndarray, "*axes"]:
    """Return the logistic function 1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))  # type: ignore[no-any-return]


class TanhCell:
    """h = tanh(a_ih + a_hh)."""

    @staticmethod
    def forward(a_ih: Gates, a_hh: Gates, h_prev: State, c_prev: Hidden | None, rnd: Rounding) -> Any:
        """Return h, c (none here) and what the backward pass needs."""
        a = rnd(a_ih + a_hh)
        h = rnd.activation(np.tanh(a), a)
        return h, c_prev, (h,)

    @staticmethod
    def backward(dh: Hidden, dc: Hidden | None, saved: Any, rnd: Rounding) -> Any:
        """Return the gradients of a_ih, a_hh, h_prev (beside a_hh) and c_prev."""
        (h,) = saved
        da = rnd(dh * rnd(1 - rnd(h * h)))
        return da, da, 0, dc


class ReluCell:
    """h = relu(a_ih + a_hh)."""

    @staticmethod
    def forward(a_ih: Gates, a_hh: Gates, h_prev: State, c_prev: Hidden | None, rnd: Rounding) -> Any:
        """Return h, c (none here) and what the backward pass needs."""
        a = rnd(a_ih + a_hh)
        off = rnd.kink(a) <= 0
        return np.where(off, 0, a), c_prev, (~off,)

    @staticmethod
    def backward(dh: Hidden, dc: Hidden | None, saved: Any, rnd: Rounding) -> Any:
        """Return the gradients of a_ih, a_hh, h_prev (beside a_hh) and c_prev."""
        (positive,) = saved
        da = dh * positive
        return da, da, 0, dc


class GRUCell:
    """The gates r, z, n, packed in that order."""

    @staticmethod
    def forward(a_ih: Gates, a_hh: Gates, h_prev: State, c_prev: Hidden | None, rnd: Rounding) -> Any:
        """Return h, c (none here) and what the backward pass needs."""
        x_r, x_z, x_n = np.split(a_ih, 3, axis=-1)
        h_r, h_z, h_n = np.split(a_hh, 3, axis=-1)
        a_r, a_z = rnd(x_r + h_r), rnd(x_z + h_z)
        r = rnd.activation(sigma(a_r), a_r)
        z = rnd.activation(sigma(a_z), a_z)
        a_n = rnd(x_n + rnd(r * h_n))
        n = rnd.activation(np.tanh(a_n), a_n)
        h = rnd(rnd(rnd(1 - z) * n) + rnd(z * h_prev))
        return h, c_prev, (r, z, n, h_n, h_prev)

    @staticmethod
    def backward(dh: Hidden, dc: Hidden | None, saved: Any, rnd: Rounding) -> Any:
        """Return the gradients of a_ih, a_hh, h_prev (beside a_hh) and c_prev."""
        r, z, n, h_n, h_prev = saved
        dn = rnd(dh * rnd(1 - z))
        dz = rnd(rnd(dh * h_prev) - rnd(dh * n))
        da_n = rnd(dn * rnd(1 - rnd(n * n)))
        da_r = rnd(rnd(da_n * h_n) * rnd(r * rnd(1 - r)))
        da_z = rnd(dz * rnd(z * rnd(1 - z)))
        da_ih = np.concatenate((da_r, da_z, da_n), axis=-1)
        da_hh = np.concatenate((da_r, da_z, rnd(da_n * r)), axis=-1)
        return da_ih, da_hh, rnd(dh * z), dc


class LSTMCell:
    """The gates i, f, g, o, packed in that order."""

    @staticmethod
    def forward(a_ih: Gates, a_hh: Gates, h_prev: State, c_prev: Hidden | None, rnd: Rounding) -> Any:
        """Return h before a projection, c and what the backward pass needs."""
        a_i, a_f, a_g, a_o = np.split(rnd(a_ih + a_hh), 4, axis=-1)
        i = rnd.activation(sigma(a_i), a_i)
        f = rnd.activation(sigma(a_f), a_f)
        g = rnd.activation(np.tanh(a_g), a_g)
        o = rnd.activation(sigma(a_o), a_o)
        c = rnd(rnd(f * c_prev) + rnd(i * g))
        tanh_c = rnd.activation(np.tanh(c), c)
        return rnd(o * tanh_c), c, (i, f, g, o, c_prev, tanh_c)

    @staticmethod
    def backward(dh: Hidden, dc: Hidden | None, saved: Any, rnd: Rounding) -> Any:
        """Return the gradients of a_ih, a_hh, h_prev (beside a_hh) and c_prev."""
        i, f, g, o, c_prev, tanh_c = saved
        dc = rnd(dc + rnd(rnd(dh * o) * rnd(1 - rnd(tanh_c * tanh_c))))
        da_i = rnd(rnd(dc * g) * rnd(i * rnd(1 - i)))
        da_f = rnd(rnd(dc * c_prev) * rnd(f * rnd(1 - f)))
        da_g = rnd(rnd(dc * i) * rnd(1 - rnd(g * g)))
        da_o = rnd(rnd(dh * tanh_c) * rnd(o * rnd(1 - o)))
        da = np.concatenate((da_i, da_f, da_g, da_o), axis=-1)
        return da, da, 0, rnd(dc * f)


CELLS: dict[tuple[str, str], Any] = {
    ("rnn", "tanh"): TanhCell,
    ("rnn", "relu"): ReluCell,
    ("gru", "tanh"): GRUCell,
    ("lstm", "tanh"): LSTMCell,
}
