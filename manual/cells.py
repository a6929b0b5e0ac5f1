"""One step of an RNN, a GRU and an LSTM: pure functions, the equation and nothing else.

A cell is a whole step. It is made of the input's product, which needs no state and so can be taken for all steps at
once, and of what waits for the step before: `rnn_step`, `gru_step` and `lstm_step`.
"""

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
    ih_t = input_product(x_t, weight_ih, bias_ih, bias_hh)
    return rnn_step(ih_t, h_prev, weight_hh.t()[None], nonlinearity)


def rnn_step(
    ih_t: Float[Tensor, "batch hidden"],
    h_prev: Float[Tensor, "batch hidden"],
    W_hh: Float[Tensor, "1 hidden hidden"],
    nonlinearity: Callable[[Tensor], Tensor] = torch.tanh,
) -> Float[Tensor, "batch hidden"]:
    """The part of `rnn_cell` that waits for the step before.

    h_t = tanh(ih_t + W_hh h_prev)

    Args:
        ih_t: W_ih x_t + b_ih + b_hh, (batch, hidden).
        h_prev: as that of `rnn_cell`.
        W_hh: weight_hh transposed, as the only one of the sets of weights that bmm takes, (1, hidden, hidden).
        nonlinearity: as that of `rnn_cell`.

    Returns:
        h_t, the hidden state of this step, (batch, hidden).
    """
    return nonlinearity(torch.baddbmm(ih_t[None], h_prev[None], W_hh).squeeze(0))


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
    return gru_step(input_product(x_t, weight_ih, bias_ih), h_prev, weight_hh.t(), bias_hh)


def gru_step(
    ih_t: Float[Tensor, "batch gates"],
    h_prev: Float[Tensor, "batch hidden"],
    W_hh: Float[Tensor, "hidden gates"],
    bias_hh: Float[Tensor, " gates"] | None = None,
) -> Float[Tensor, "batch hidden"]:
    """The part of `gru_cell` that waits for the step before.

    r = sigmoid(ih_r + W_hr h_prev + b_hr)
    z = sigmoid(ih_z + W_hz h_prev + b_hz)
    n = tanh(ih_n + r * (W_hn h_prev + b_hn))
    h_t = (1 - z) * n + z * h_prev

    Args:
        ih_t: W_ih x_t + b_ih for r, z, n, (batch, 3*hidden).
        h_prev: as that of `gru_cell`.
        W_hh: weight_hh transposed, (hidden, 3*hidden).
        bias_hh: as that of `gru_cell`.

    Returns:
        h_t, the hidden state of this step, (batch, hidden).
    """
    hh_t = h_prev @ W_hh if bias_hh is None else torch.addmm(bias_hh, h_prev, W_hh)
    ih_r, ih_z, ih_n = ih_t.chunk(3, dim=-1)
    hh_r, hh_z, hh_n = hh_t.chunk(3, dim=-1)
    r = torch.sigmoid(ih_r + hh_r)
    z = torch.sigmoid(ih_z + hh_z)
    n = torch.tanh(ih_n + r * hh_n)
    return n + z * (h_prev - n)  # (1 - z) * n + z * h_prev


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
    ih_t = input_product(x_t, weight_ih, bias_ih, bias_hh)
    return lstm_step(ih_t, h_prev, c_prev, weight_hh.t(), None if weight_hr is None else weight_hr.t())


def lstm_step(
    ih_t: Float[Tensor, "batch gates"],
    h_prev: Float[Tensor, "batch out"],
    c_prev: Float[Tensor, "batch hidden"],
    W_hh: Float[Tensor, "out gates"],
    W_hr: Float[Tensor, "hidden out"] | None = None,
) -> tuple[Float[Tensor, "batch out"], Float[Tensor, "batch hidden"]]:
    """The part of `lstm_cell` that waits for the step before.

    i = sigmoid(ih_i + W_hi h_prev)
    f = sigmoid(ih_f + W_hf h_prev)
    g = tanh(ih_g + W_hg h_prev)
    o = sigmoid(ih_o + W_ho h_prev)
    c_t = f * c_prev + i * g
    h_t = o * tanh(c_t), or W_hr (o * tanh(c_t)) with a projection

    Args:
        ih_t: W_ih x_t + b_ih + b_hh for i, f, g, o, (batch, 4*hidden).
        h_prev, c_prev: as those of `lstm_cell`.
        W_hh: weight_hh transposed, (out, 4*hidden).
        W_hr: weight_hr transposed, (hidden, out), or None for no projection.

    Returns:
        h_t, the hidden state of this step, (batch, out).
        c_t, the cell state of this step, (batch, hidden).
    """
    a_i, a_f, a_g, a_o = torch.addmm(ih_t, h_prev, W_hh).chunk(4, dim=-1)
    i = torch.sigmoid(a_i)
    f = torch.sigmoid(a_f)
    g = torch.tanh(a_g)
    o = torch.sigmoid(a_o)
    c_t = f * c_prev + i * g
    h_t = o * torch.tanh(c_t)
    return (h_t if W_hr is None else h_t @ W_hr), c_t


def input_product(
    x: Float[Tensor, "*rows input"],
    weight_ih: Float[Tensor, "gates input"],
    bias_ih: Float[Tensor, " gates"] | None = None,
    bias_hh: Float[Tensor, " gates"] | None = None,
) -> Float[Tensor, "*rows gates"]:
    """What the input adds to each gate, for one step or for all.

    ih = W_ih x + b_ih + b_hh

    Args:
        x: input of one step (batch, input), or of all, (seq, batch, input) or packed (rows, input).
        weight_ih: input weights of all gates, (gates, input).
        bias_ih: input bias, (gates), or None.
        bias_hh: recurrent bias, (gates), or None where it is added elsewhere.

    Returns:
        ih, as the input, with as many features as there are gates.
    """
    if bias_ih is None or bias_hh is None:
        return linear(x, weight_ih, bias_hh if bias_ih is None else bias_ih)
    return linear(x, weight_ih, bias_ih + 1 * bias_hh)  # times 1, or both would be given the same tensor as gradient
