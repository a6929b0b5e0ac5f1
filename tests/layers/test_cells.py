"""The pure cells agree with torch.nn's cells and with the forms that textbooks give them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from rnn_parity.manual import (
    gru_cell,
    gru_cell_reset_before,
    lstm_cell,
    lstm_cell_concatenated,
    rnn_cell,
    rnn_forward_per_sample,
    unroll,
)
from rnn_parity.tests.layers.rounding import assert_within, step_bound

BATCH, INPUT, HIDDEN, PROJ = 3, 4, 5, 2
TERMS = INPUT + HIDDEN + 2  # products and biases that make up one gate

BOUND = step_bound(TERMS)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, dtype=torch.float64, generator=generator) * 2 - 1


def weights(gates: int, *, out: int = HIDDEN) -> list[Tensor]:
    rows = gates * HIDDEN
    shapes = [(rows, INPUT), (rows, out), (rows,), (rows,)]
    return [uniform(*shape, seed=10 + k) for k, shape in enumerate(shapes)]


def load(cell: nn.Module, tensors: list[Tensor]) -> nn.Module:
    """Give a built-in cell these weights, in the order of its parameters."""
    for (_, parameter), tensor in zip(cell.named_parameters(), tensors, strict=True):
        parameter.data = tensor
    return cell


x_t, h_prev, c_prev = (
    uniform(BATCH, INPUT, seed=1),
    uniform(BATCH, HIDDEN, seed=2),
    uniform(BATCH, HIDDEN, seed=3),
)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("bias", [True, False])
def test_rnn_cell_equals_the_built_in(nonlinearity: str, bias: bool) -> None:
    tensors = weights(1)[: 4 if bias else 2]
    builtin = load(
        nn.RNNCell(INPUT, HIDDEN, bias=bias, nonlinearity=nonlinearity, dtype=torch.float64),
        tensors,
    )
    actual = rnn_cell(x_t, h_prev, *tensors, nonlinearity=getattr(torch, nonlinearity))
    assert_within(actual, builtin(x_t, h_prev).detach(), BOUND)


@pytest.mark.parametrize(("cell", "gates"), [(rnn_cell, 1), (gru_cell, 3), (lstm_cell, 4)])
def test_the_biases_share_no_gradient(cell: Callable[..., Any], gates: int) -> None:
    """Of one sequence each is one row, and autograd adds to it in place: a view of the other would be added twice."""
    tensors = [w.requires_grad_() for w in weights(gates)]
    states = [h_prev[:1], c_prev[:1]] if cell is lstm_cell else [h_prev[:1]]
    result = cell(x_t[:1], *states, *tensors)
    h_t = result if cell is not lstm_cell else result[0]
    bias_ih, bias_hh = torch.autograd.grad(h_t.sum(), tensors[2:])
    assert bias_ih.untyped_storage().data_ptr() != bias_hh.untyped_storage().data_ptr()


@pytest.mark.parametrize("bias", [True, False])
def test_gru_cell_equals_the_built_in(bias: bool) -> None:
    tensors = weights(3)[: 4 if bias else 2]
    builtin = load(nn.GRUCell(INPUT, HIDDEN, bias=bias, dtype=torch.float64), tensors)
    assert_within(gru_cell(x_t, h_prev, *tensors), builtin(x_t, h_prev).detach(), BOUND)


@pytest.mark.parametrize("bias", [True, False])
def test_lstm_cell_equals_the_built_in(bias: bool) -> None:
    tensors = weights(4)[: 4 if bias else 2]
    builtin = load(nn.LSTMCell(INPUT, HIDDEN, bias=bias, dtype=torch.float64), tensors)
    for actual, expected in zip(lstm_cell(x_t, h_prev, c_prev, *tensors), builtin(x_t, (h_prev, c_prev)), strict=True):
        assert_within(actual, expected.detach(), BOUND)


def test_lstm_cell_projects_the_hidden_state_and_nothing_else() -> None:
    weight_ih, weight_hh, bias_ih, bias_hh = weights(4, out=PROJ)
    weight_hr, h_small = uniform(PROJ, HIDDEN, seed=4), uniform(BATCH, PROJ, seed=5)
    h_t, c_t = lstm_cell(x_t, h_small, c_prev, weight_ih, weight_hh, bias_ih, bias_hh, weight_hr)

    # Without a projection the hidden state is as large as the cell state: fill it, and its weights, with zeros.
    weight_hh, h_large = (pad(tensor, (0, HIDDEN - PROJ)) for tensor in (weight_hh, h_small))
    h_expected, c_expected = lstm_cell(x_t, h_large, c_prev, weight_ih, weight_hh, bias_ih, bias_hh)
    assert_within(c_t, c_expected, BOUND)
    assert_within(h_t, linear(h_expected, weight_hr), HIDDEN * BOUND)


@pytest.mark.parametrize("nonlinearity", [torch.tanh, torch.relu])
@pytest.mark.parametrize("bias", [True, False])
def test_rnn_per_sample_equals_the_cell_over_time(nonlinearity, bias: bool) -> None:
    seq_len = 5
    x = uniform(seq_len, BATCH, INPUT, seed=6)
    # A step multiplies an error it is handed by HIDDEN * max|W_hh| at most; at 1/HIDDEN errors only add up.
    weight_ih, weight_hh, *biases = (w / HIDDEN for w in weights(1)[: 4 if bias else 2])
    output, h_n = rnn_forward_per_sample(x, h_prev, weight_ih, weight_hh, *biases, nonlinearity=nonlinearity)

    def step(x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h_t = rnn_cell(x_t, h, weight_ih, weight_hh, *biases, nonlinearity=nonlinearity)
        return h_t, h_t

    expected, h_expected = unroll(step, x, h_prev)
    assert_within(output, expected, seq_len * BOUND)
    assert_within(h_n, h_expected, seq_len * BOUND)
    assert torch.equal(h_n, output[-1])


def test_lstm_over_the_concatenated_vector_equals_the_packed_one() -> None:
    weight_ih, weight_hh, bias_ih, bias_hh = weights(4)
    W_i, W_f, W_c, W_o = torch.cat([weight_hh, weight_ih], dim=1).chunk(4)  # (hidden, hidden + input)
    b_i, b_f, b_c, b_o = (bias_ih + bias_hh).chunk(4)
    actual = lstm_cell_concatenated(x_t, h_prev, c_prev, W_i, W_f, W_c, W_o, b_i, b_f, b_c, b_o)
    expected = lstm_cell(x_t, h_prev, c_prev, weight_ih, weight_hh, bias_ih, bias_hh)
    for tensor, expected_tensor in zip(actual, expected, strict=True):
        assert_within(tensor, expected_tensor, BOUND)


def reset_before_and_after(reset_bias: float) -> tuple[Tensor, Tensor]:
    """The same weights in both dialects of the GRU, of which one has no bias on the recurrent product."""
    weight_ih, weight_hh, bias, _ = weights(3)
    bias = bias.clone()
    bias[:HIDDEN] += reset_bias
    before = gru_cell_reset_before(x_t, h_prev, *weight_ih.chunk(3), *weight_hh.chunk(3), *bias.chunk(3))
    module = nn.GRUCell(INPUT, HIDDEN, dtype=torch.float64)
    load(module, [weight_ih, weight_hh, bias, torch.zeros_like(bias)])
    return before, module(x_t, h_prev).detach()


def test_reset_before_the_product_is_not_what_torch_computes() -> None:
    before, after = reset_before_and_after(reset_bias=0.0)
    assert (before - after).abs().max() > 0.01  # no rounding: 10 orders of magnitude above the bound
    assert BOUND < 1e-12


def test_the_two_resets_agree_where_the_reset_gate_is_open() -> None:
    # sigmoid(a) rounds to exactly 1 for a above 37, and r's other terms sum to more than -TERMS.
    before, after = reset_before_and_after(reset_bias=37.0 + TERMS)
    assert_within(before, after, BOUND)


def test_the_two_resets_agree_where_the_reset_gate_is_shut() -> None:
    # r is then at most sigmoid(-700), below 1e-303: both dialects lose the old state in n.
    before, after = reset_before_and_after(reset_bias=-700.0 - TERMS)
    assert_within(before, after, BOUND)
