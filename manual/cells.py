"""One step of an RNN, a GRU and an LSTM: pure functions, the equation and nothing else."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear


def rnn_cell(
    x_t: Float[Tensor, "sets batch input"],
    h_prev: Float[Tensor, "sets batch hidden"],
    weight_ih: Float[Tensor, "sets input hidden"],
    weight_hh: Float[Tensor, "sets hidden hidden"],
    bias_ih: Float[Tensor, "sets hidden"] | None = None,
    bias_hh: Float[Tensor, "sets hidden"] | None = None,
    nonlinearity: Callable[[Tensor], Tensor] = torch.tanh,
) -> Float[Tensor, "sets batch hidden"]:
    """One step of the Elman RNN, for several independent sets of weights at once.

    h_t = tanh(x_t W_ih + b_ih + h_prev W_hh + b_hh)

    The two products are batched over the sets: each set is one matrix product whose rows are the batch.

    Args:
        x_t: input of this step, (sets, batch, input).
        h_prev: hidden state of the step before, (sets, batch, hidden).
        weight_ih: input weights, (sets, input, hidden): torch.nn's `weight_ih`, transposed.
        weight_hh: recurrent weights, (sets, hidden, hidden): torch.nn's `weight_hh`, transposed.
        bias_ih: input bias, (sets, hidden), or None.
        bias_hh: recurrent bias, (sets, hidden), or None.
        nonlinearity: `torch.tanh` or `torch.relu`.

    Returns:
        h_t, the hidden state of this step, (sets, batch, hidden).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html
    """
    a_t = torch.bmm(x_t, weight_ih) + torch.bmm(h_prev, weight_hh)
    # Rows first, so that a bias broadcasts over them: its gradient is then a sum of its own, never a view that the
    # other bias's gradient shares, which autograd would add up twice.
    a_t = a_t.transpose(0, 1)  # (batch, sets, hidden)
    if bias_ih is not None:
        a_t = a_t + bias_ih
    if bias_hh is not None:
        a_t = a_t + bias_hh
    return nonlinearity(a_t.transpose(0, 1))


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
