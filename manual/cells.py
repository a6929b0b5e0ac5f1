"""One step of an RNN, a GRU and an LSTM: pure functions, the equation and nothing else."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear


def rnn_cell(
    x_t: Float[Tensor, "batch input"],
    h_prev: Float[Tensor, "batch hidden"],
    weight_ih: Float[Tensor, "hidden input"],
    weight_hh: Float[Tensor, "hidden hidden"],
    bias_ih: Float[Tensor, " hidden"] | None = None,
    bias_hh: Float[Tensor, " hidden"] | None = None,
    nonlinearity: Callable[[Tensor], Tensor] = torch.tanh,
) -> Float[Tensor, "batch hidden"]:
    """One step of the Elman RNN.

    h_t = tanh(W_ih x_t + b_ih + W_hh h_prev + b_hh)

    Args:
        x_t: input of this step, (batch, input).
        h_prev: hidden state of the step before, (batch, hidden).
        weight_ih: input weights, (hidden, input).
        weight_hh: recurrent weights, (hidden, hidden).
        bias_ih: input bias, (hidden), or None.
        bias_hh: recurrent bias, (hidden), or None.
        nonlinearity: `torch.tanh` or `torch.relu`.

    Returns:
        h_t, the hidden state of this step, (batch, hidden).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html
    """
    return rnn_step(weight_ih, weight_hh, bias_ih, bias_hh, nonlinearity)(x_t, h_prev)


def rnn_step(
    weight_ih: Float[Tensor, "hidden input"],
    weight_hh: Float[Tensor, "hidden hidden"],
    bias_ih: Float[Tensor, " hidden"] | None = None,
    bias_hh: Float[Tensor, " hidden"] | None = None,
    nonlinearity: Callable[[Tensor], Tensor] = torch.tanh,
) -> Callable[[Tensor, Tensor], Tensor]:
    """`rnn_cell` for given weights: bmm wants them transposed, which is done once for all steps.

    Args:
        As those of `rnn_cell`.

    Returns:
        The function of x_t and h_prev that returns h_t.
    """
    W_ih, W_hh = weight_ih.t()[None], weight_hh.t()[None]  # one set of weights: (1, input, hidden), (1, hidden, hidden)

    def step(x_t: Tensor, h_prev: Tensor) -> Tensor:
        a_t = (torch.bmm(x_t[None], W_ih) + torch.bmm(h_prev[None], W_hh))[0]  # (batch, hidden)
        if bias_ih is not None:
            a_t = a_t + bias_ih
        if bias_hh is not None:
            a_t = a_t + bias_hh
        return nonlinearity(a_t)

    return step


def gru_cell(
    x_t: Float[Tensor, "batch input"],
    h_prev: Float[Tensor, "batch hidden"],
    weight_ih: Float[Tensor, "3*hidden input"],
    weight_hh: Float[Tensor, "3*hidden hidden"],
    bias_ih: Float[Tensor, " 3*hidden"] | None = None,
    bias_hh: Float[Tensor, " 3*hidden"] | None = None,
) -> Float[Tensor, "batch hidden"]:
    """One step of the GRU whose reset gate is applied after the recurrent product, as torch.nn.GRU does.

    r = sigmoid(W_ir x_t + b_ir + W_hr h_prev + b_hr)
    z = sigmoid(W_iz x_t + b_iz + W_hz h_prev + b_hz)
    n = tanh(W_in x_t + b_in + r * (W_hn h_prev + b_hn))
    h_t = (1 - z) * n + z * h_prev

    Args:
        x_t: input of this step, (batch, input).
        h_prev: hidden state of the step before, (batch, hidden).
        weight_ih: input weights of r, z, n one below the other, (3*hidden, input).
        weight_hh: recurrent weights of r, z, n one below the other, (3*hidden, hidden).
        bias_ih: input bias of r, z, n, (3*hidden), or None.
        bias_hh: recurrent bias of r, z, n, (3*hidden), or None.

    Returns:
        h_t, the hidden state of this step, (batch, hidden).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html; the reset before the product,
        as in Cho et al. 2014 (arXiv:1406.1078), is `gru_cell_reset_before`.
    """
    ih_r, ih_z, ih_n = linear(x_t, weight_ih, bias_ih).chunk(3, dim=-1)
    hh_r, hh_z, hh_n = linear(h_prev, weight_hh, bias_hh).chunk(3, dim=-1)
    r = torch.sigmoid(ih_r + hh_r)
    z = torch.sigmoid(ih_z + hh_z)
    n = torch.tanh(ih_n + r * hh_n)
    return (1 - z) * n + z * h_prev


def lstm_cell(
    x_t: Float[Tensor, "batch input"],
    h_prev: Float[Tensor, "batch out"],
    c_prev: Float[Tensor, "batch hidden"],
    weight_ih: Float[Tensor, "4*hidden input"],
    weight_hh: Float[Tensor, "4*hidden out"],
    bias_ih: Float[Tensor, " 4*hidden"] | None = None,
    bias_hh: Float[Tensor, " 4*hidden"] | None = None,
    weight_hr: Float[Tensor, "out hidden"] | None = None,
) -> tuple[Float[Tensor, "batch out"], Float[Tensor, "batch hidden"]]:
    """One step of the LSTM, with torch.nn's optional projection of the hidden state.

    i = sigmoid(W_ii x_t + b_ii + W_hi h_prev + b_hi)
    f = sigmoid(W_if x_t + b_if + W_hf h_prev + b_hf)
    g = tanh(W_ig x_t + b_ig + W_hg h_prev + b_hg)
    o = sigmoid(W_io x_t + b_io + W_ho h_prev + b_ho)
    c_t = f * c_prev + i * g
    h_t = o * tanh(c_t), or W_hr (o * tanh(c_t)) with a projection

    Args:
        x_t: input of this step, (batch, input).
        h_prev: hidden state of the step before, (batch, out); out is the projection's size, or hidden.
        c_prev: cell state of the step before, (batch, hidden).
        weight_ih: input weights of i, f, g, o one below the other, (4*hidden, input).
        weight_hh: recurrent weights of i, f, g, o one below the other, (4*hidden, out).
        bias_ih: input bias of i, f, g, o, (4*hidden), or None.
        bias_hh: recurrent bias of i, f, g, o, (4*hidden), or None.
        weight_hr: weights of the projection, (out, hidden), or None for no projection.

    Returns:
        h_t, the hidden state of this step, (batch, out).
        c_t, the cell state of this step, (batch, hidden).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html; the projection is that of
        Sak et al. 2014 (arXiv:1402.1128).
    """
    gates = linear(x_t, weight_ih, bias_ih) + linear(h_prev, weight_hh, bias_hh)
    a_i, a_f, a_g, a_o = gates.chunk(4, dim=-1)
    i = torch.sigmoid(a_i)
    f = torch.sigmoid(a_f)
    g = torch.tanh(a_g)
    o = torch.sigmoid(a_o)
    c_t = f * c_prev + i * g
    h_t = o * torch.tanh(c_t)
    if weight_hr is not None:
        h_t = linear(h_t, weight_hr)
    return h_t, c_t
