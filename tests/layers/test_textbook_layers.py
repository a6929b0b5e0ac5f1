"""The layer of the other GRU: the reset applied before the recurrent product."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnn_parity.manual import GRU, ResetBeforeGRU, gru_cell_reset_before
from rnn_parity.tests.layers.rounding import assert_same_digits

SEQ, BATCH, INPUT, HIDDEN = 5, 3, 2, 4


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make(**options: Any) -> ResetBeforeGRU:
    return ResetBeforeGRU(INPUT, HIDDEN, dtype=torch.float64, **options)


def loop(input: Tensor, h_t: Tensor, layer: ResetBeforeGRU, suffix: str) -> tuple[Tensor, Tensor]:
    """One direction of one layer: its cell, step after step."""
    weights = dict(layer.named_parameters())
    separate = [*weights[f"weight_ih_{suffix}"].chunk(3), *weights[f"weight_hh_{suffix}"].chunk(3)]
    zeros = torch.zeros(3 * HIDDEN, dtype=torch.float64)
    separate += sum((weights.get(f"{name}_{suffix}", zeros) for name in ("bias_ih", "bias_hh")), zeros).chunk(3)
    output = []
    for x_t in input:
        h_t = gru_cell_reset_before(x_t, h_t, *separate)
        output.append(h_t)
    return torch.stack(output), h_t


def loops(input: Tensor, h_0: Tensor, layer: ResetBeforeGRU) -> tuple[Tensor, Tensor]:
    """All layers and directions of it."""
    states = iter(h_0)
    h_n = []
    for k in range(layer.num_layers):
        output, last = loop(input, next(states), layer, f"l{k}")
        h_n.append(last)
        if layer.bidirectional:
            backward, last = loop(input.flip(0), next(states), layer, f"l{k}_reverse")
            output = torch.cat([output, backward.flip(0)], dim=-1)
            h_n.append(last)
        input = output
    return input, torch.stack(h_n)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_is_its_cell_in_a_loop(num_layers: int, bidirectional: bool, bias: bool) -> None:
    layer = make(num_layers=num_layers, bidirectional=bidirectional, bias=bias)
    x = torch.randn(SEQ, BATCH, INPUT, dtype=torch.float64)
    h_0 = torch.randn(num_layers * (1 + bidirectional), BATCH, HIDDEN, dtype=torch.float64)
    found, expected = layer(x, h_0), loops(x, h_0, layer)
    for tensor, truth in zip(found, expected, strict=True):
        assert_same_digits(tensor, truth)
    # and so are its gradients
    cotangents = [torch.randn_like(t) for t in found]
    for gradients in zip(
        torch.autograd.grad(found, list(layer.parameters()), cotangents),
        torch.autograd.grad(expected, list(layer.parameters()), cotangents),
        strict=True,
    ):
        assert_same_digits(*gradients)


def test_is_constructed_and_called_like_torch_nn() -> None:
    layer, builtin = ResetBeforeGRU(INPUT, HIDDEN, 2, batch_first=True), nn.GRU(INPUT, HIDDEN, 2, batch_first=True)
    layer.load_state_dict(builtin.state_dict())
    x = torch.randn(BATCH, SEQ, INPUT)
    for found, expected in zip(layer(x), builtin(x), strict=True):
        assert found.shape == expected.shape
        assert (found - expected).abs().max() > 0.001  # no rounding: another layer
    assert repr(layer) == f"ResetBefore{builtin!r}"


def test_resets_the_old_state_not_the_product() -> None:
    """A bias inside the recurrent product's brackets is out of the reset gate's reach here, in GRU it is not."""
    layer, after = make(), GRU(INPUT, HIDDEN, dtype=torch.float64)
    moved = []
    for each in (layer, after):
        with torch.no_grad():
            for parameter in each.parameters():
                parameter.zero_()
            each.bias_hh_l0[:HIDDEN] = -800.0  # r is 0
            each.bias_hh_l0[2 * HIDDEN :] = 1.0
        moved.append(each(torch.zeros(1, 1, INPUT, dtype=torch.float64))[0])
    torch.testing.assert_close(moved[0], torch.full_like(moved[0], 0.5 * torch.tensor(1.0).double().tanh().item()))
    assert moved[1].count_nonzero() == 0


def test_packed_sequences_equal_each_on_its_own() -> None:
    layer, lengths = make(bidirectional=True), [2, 5, 3]
    x = torch.randn(SEQ, BATCH, INPUT, dtype=torch.float64)
    output, h_n = layer(pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False))
    padded, _ = pad_packed_sequence(output)
    for b, length in enumerate(lengths):
        alone, last = layer(x[:length, b : b + 1])
        assert_same_digits(padded[:length, b : b + 1], alone)
        assert_same_digits(h_n[:, b : b + 1], last)
