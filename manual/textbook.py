"""The same cells as textbooks and tutorials write them: slower, or another dialect, and easy to compare."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from .layers import GRU
from .unroll import Step


def rnn_forward_per_sample(
    input: Float[Tensor, "seq batch input"],
    h_0: Float[Tensor, "batch hidden"],
    weight_ih: Float[Tensor, "hidden input"],
    weight_hh: Float[Tensor, "hidden hidden"],
    bias_ih: Float[Tensor, " hidden"] | None = None,
    bias_hh: Float[Tensor, " hidden"] | None = None,
    nonlinearity: Callable[[Tensor], Tensor] = torch.tanh,
) -> tuple[Float[Tensor, "seq batch hidden"], Float[Tensor, "batch hidden"]]:
    """The Elman RNN of many tutorials: one matrix-vector product for each sample of the batch.

    h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), for every row of the batch on its own

    `bmm` runs over the batch and the weights are repeated for every row, so that a matrix product becomes
    `batch` products with a column. The result is that of `rnn_cell` over time, at many times the cost.

    Args:
        input: the sequences, (seq, batch, input).
        h_0: hidden state before the first step, (batch, hidden).
        weight_ih: input weights, (hidden, input).
        weight_hh: recurrent weights, (hidden, hidden).
        bias_ih: input bias, (hidden), or None.
        bias_hh: recurrent bias, (hidden), or None.
        nonlinearity: `torch.tanh` or `torch.relu`.

    Returns:
        output, the hidden state of every step, (seq, batch, hidden).
        h_n, the hidden state of the last step, (batch, hidden).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html
    """
    batch = input.shape[1]
    W_ih = weight_ih.expand(batch, -1, -1)  # (batch, hidden, input)
    W_hh = weight_hh.expand(batch, -1, -1)  # (batch, hidden, hidden)
    h_t, output = h_0, []
    for x_t in input.unbind(0):
        a_t = (torch.bmm(W_ih, x_t.unsqueeze(2)) + torch.bmm(W_hh, h_t.unsqueeze(2))).squeeze(2)
        if bias_ih is not None:
            a_t = a_t + bias_ih
        if bias_hh is not None:
            a_t = a_t + bias_hh
        h_t = nonlinearity(a_t)
        output.append(h_t)
    return torch.stack(output), h_t


def lstm_cell_concatenated(
    x_t: Float[Tensor, "batch input"],
    h_prev: Float[Tensor, "batch hidden"],
    c_prev: Float[Tensor, "batch hidden"],
    W_i: Float[Tensor, "hidden hidden+input"],
    W_f: Float[Tensor, "hidden hidden+input"],
    W_c: Float[Tensor, "hidden hidden+input"],
    W_o: Float[Tensor, "hidden hidden+input"],
    b_i: Float[Tensor, " hidden"],
    b_f: Float[Tensor, " hidden"],
    b_c: Float[Tensor, " hidden"],
    b_o: Float[Tensor, " hidden"],
) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch hidden"]]:
    """One step of the LSTM in the textbook's six equations, one matrix and one bias for each gate.

    f_t = sigmoid(W_f [h_prev, x_t] + b_f)
    i_t = sigmoid(W_i [h_prev, x_t] + b_i)
    g_t = tanh(W_c [h_prev, x_t] + b_c)
    c_t = f_t * c_prev + i_t * g_t
    o_t = sigmoid(W_o [h_prev, x_t] + b_o)
    h_t = o_t * tanh(c_t)

    It equals `lstm_cell` with W = [weight_hh, weight_ih] and b = bias_ih + bias_hh of the gate.

    Args:
        x_t: input of this step, (batch, input).
        h_prev: hidden state of the step before, (batch, hidden).
        c_prev: cell state of the step before, (batch, hidden).
        W_i: weights of the input gate, (hidden, hidden + input); the first columns meet h_prev.
        W_f: weights of the forget gate, likewise.
        W_c: weights of the candidate cell state, likewise.
        W_o: weights of the output gate, likewise.
        b_i: bias of the input gate, (hidden).
        b_f: bias of the forget gate, likewise.
        b_c: bias of the candidate cell state, likewise.
        b_o: bias of the output gate, likewise.

    Returns:
        h_t, the hidden state of this step, (batch, hidden).
        c_t, the cell state of this step, (batch, hidden).

    Source: Gers, Schmidhuber and Cummins 2000, "Learning to forget", without its peepholes.
    """
    hx_t = torch.cat([h_prev, x_t], dim=-1)  # (batch, hidden + input)
    f_t = torch.sigmoid(linear(hx_t, W_f, b_f))
    i_t = torch.sigmoid(linear(hx_t, W_i, b_i))
    g_t = torch.tanh(linear(hx_t, W_c, b_c))
    c_t = f_t * c_prev + i_t * g_t
    o_t = torch.sigmoid(linear(hx_t, W_o, b_o))
    h_t = o_t * torch.tanh(c_t)
    return h_t, c_t


def gru_cell_reset_before(
    x_t: Float[Tensor, "batch input"],
    h_prev: Float[Tensor, "batch hidden"],
    W_r: Float[Tensor, "hidden input"],
    W_z: Float[Tensor, "hidden input"],
    W_n: Float[Tensor, "hidden input"],
    U_r: Float[Tensor, "hidden hidden"],
    U_z: Float[Tensor, "hidden hidden"],
    U_n: Float[Tensor, "hidden hidden"],
    b_r: Float[Tensor, " hidden"],
    b_z: Float[Tensor, " hidden"],
    b_n: Float[Tensor, " hidden"],
) -> Float[Tensor, "batch hidden"]:
    """One step of the GRU whose reset gate is applied before the recurrent product, unlike torch.nn.GRU.

    r = sigmoid(W_r x_t + U_r h_prev + b_r)
    z = sigmoid(W_z x_t + U_z h_prev + b_z)
    n = tanh(W_n x_t + U_n (r * h_prev) + b_n)
    h_t = (1 - z) * n + z * h_prev

    Another layer, not another notation: the two agree only where r is 1 (or where U_n and r commute).

    Args:
        x_t: input of this step, (batch, input).
        h_prev: hidden state of the step before, (batch, hidden).
        W_r: input weights of the reset gate, (hidden, input).
        W_z: input weights of the update gate, likewise.
        W_n: input weights of the new state, likewise.
        U_r: recurrent weights of the reset gate, (hidden, hidden).
        U_z: recurrent weights of the update gate, likewise.
        U_n: recurrent weights of the new state, likewise.
        b_r: bias of the reset gate, (hidden).
        b_z: bias of the update gate, likewise.
        b_n: bias of the new state, likewise.

    Returns:
        h_t, the hidden state of this step, (batch, hidden).

    Source: Cho et al. 2014 (arXiv:1406.1078), equations 5 to 8: the reset before the product. z weighs the
        old state here as it does there and in torch.nn.GRU; some texts weigh the new one.
    """
    r = torch.sigmoid(linear(x_t, W_r) + linear(h_prev, U_r) + b_r)
    z = torch.sigmoid(linear(x_t, W_z) + linear(h_prev, U_z) + b_z)
    n = torch.tanh(linear(x_t, W_n) + linear(r * h_prev, U_n) + b_n)
    return (1 - z) * n + z * h_prev


class ResetBeforeGRU(GRU):
    """GRU of one or more layers whose reset gate is applied before the recurrent product, unlike torch.nn.GRU.

    r = sigmoid(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr)
    z = sigmoid(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz)
    n = tanh(W_in x_t + b_in + W_hn (r * h_{t-1}) + b_hn)
    h_t = (1 - z) * n + z * h_{t-1}

    It is constructed and called like torch.nn.GRU and has its parameters, but is another dialect: no weights make
    torch.nn.GRU compute the same, and those of a trained torch.nn.GRU mean something else here.

    Args:
        As those of `GRU`.

    Raises:
        ValueError, TypeError: as `GRU`.

    Source: Cho et al. 2014 (arXiv:1406.1078); the step is `gru_cell_reset_before`.
    """

    parity_dialect = ("reset before",)

    def _step(self, **weights: Tensor) -> Step:
        weight_ih, weight_hh = weights["weight_ih"], weights["weight_hh"]
        bias = weights["bias_ih"] + weights["bias_hh"] if self.bias else torch.zeros_like(weight_hh[:, 0])
        separate = [gate for packed in (weight_ih, weight_hh, bias) for gate in packed.chunk(3)]

        def step(x_t: Tensor, h_prev: Tensor) -> tuple[Tensor, Tensor]:
            h_t = gru_cell_reset_before(x_t, h_prev, *separate)
            return h_t, h_t

        return step
