"""The equations: one step of RNN, GRU and LSTM, in numbers that round.

With a_ih = W_ih x_t + b_ih and a_hh = W_hh h_prev + b_hh, gate after gate,

    RNN    h_t = tanh(a_ih + a_hh)  or  relu(a_ih + a_hh)

    GRU    r = sigma(ih_r + hh_r)
           z = sigma(ih_z + hh_z)
           n = tanh(ih_n + r * hh_n)                  (the reset gate acts after the product)
           h_t = (1 - z) * n + z * h_prev

    LSTM   i, f, o = sigma(a_ih + a_hh),  g = tanh(a_ih + a_hh)
           c_t = f * c_prev + i * g
           h_t = o * tanh(c_t),  which a projection takes on to  W_hr h_t

and where the reset gate of a GRU acts before the product, n = tanh(ih_n + W_hn (r * h_prev) + b_hn).

No code is shared with PyTorch, and none with `manual/`. The axes are drawn in `axes`.

Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html (and .GRU, .RNN);
Hochreiter and Schmidhuber 1997; Cho et al. 2014, with the reset gate where cuDNN has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Shaped

from .rounding import Numbers, linear, relu, sigma, split, tanh

Gates = Shaped[Numbers, "copies directions batch gates"]  # before their activation
Hidden = Shaped[Numbers, "copies directions batch hidden"]
State = Shaped[Numbers, "copies directions batch state"]  # proj_size where there is a projection, else hidden


@dataclass(frozen=True)
class Recurrent:
    """The product with the state: W_hh h + b_hh."""

    W_hh: Numbers
    b_hh: Numbers | None

    def __call__(self, h: State) -> Gates:
        """Return W_hh h + b_hh."""
        return linear(h, self.W_hh, self.b_hh)

    def back(self, da_hh: Gates, dh: State | None) -> State:
        """Return the gradient of h, added to what else there is of it."""
        return linear(da_hh, self.W_hh.T, dh)


Step = tuple[Hidden, Hidden | None, tuple[Any, ...]]  # h_t before a projection, c_t, what `gradients` needs


def rnn_tanh(a_ih: Gates, recurrent: Recurrent, h_prev: State, c_prev: None) -> Step:
    """Return h_t = tanh(a_ih + a_hh)."""
    h_t = tanh(a_ih + recurrent(h_prev))
    return h_t, None, (h_t,)


def rnn_relu(a_ih: Gates, recurrent: Recurrent, h_prev: State, c_prev: None) -> Step:
    """Return h_t = relu(a_ih + a_hh)."""
    h_t, slope = relu(a_ih + recurrent(h_prev))
    return h_t, None, (slope,)


def gru(a_ih: Gates, recurrent: Recurrent, h_prev: State, c_prev: None) -> Step:
    """Return h_t of the gates r, z, n, packed in that order."""
    ih_r, ih_z, ih_n = split(a_ih, 3)
    hh_r, hh_z, hh_n = split(recurrent(h_prev), 3)
    a_r, a_z = ih_r + hh_r, ih_z + hh_z
    r, z = sigma(a_r), sigma(a_z)
    n = tanh(ih_n + r * hh_n)
    h_t = (1 - z) * n + z * h_prev
    return h_t, None, (r, z, n, hh_n, h_prev)


def gru_reset_before(a_ih: Gates, recurrent: Recurrent, h_prev: State, c_prev: None) -> Step:
    """Return h_t of a GRU whose reset gate acts on the state before the product."""
    ih_r, ih_z, ih_n = split(a_ih, 3)
    hh_r, hh_z, _ = split(recurrent(h_prev), 3)
    r, z = sigma(ih_r + hh_r), sigma(ih_z + hh_z)
    _, _, hh_n = split(recurrent(r * h_prev), 3)
    n = tanh(ih_n + hh_n)
    h_t = (1 - z) * n + z * h_prev
    return h_t, None, (r, z, n, h_prev, recurrent)


def lstm(a_ih: Gates, recurrent: Recurrent, h_prev: State, c_prev: Hidden) -> Step:
    """Return h_t and c_t of the gates i, f, g, o, packed in that order."""
    a_i, a_f, a_g, a_o = split(a_ih + recurrent(h_prev), 4)
    i, f, g, o = sigma(a_i), sigma(a_f), tanh(a_g), sigma(a_o)
    c_t = f * c_prev + i * g
    tanh_c = tanh(c_t)
    h_t = o * tanh_c
    return h_t, c_t, (i, f, g, o, c_prev, tanh_c)
