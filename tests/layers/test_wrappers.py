"""unroll, Bidirectional and Stacked around toy layers: sums of small integers, exact in any order."""

import doctest
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rnn_parity.manual import Bidirectional, Stacked, Unrolled, sequences, unroll
from rnn_parity.tests.layers.rounding import assert_within, step_bound

SEQ, BATCH, FEATURES = 4, 3, 2
LENGTHS = [4, 2, 1]


def integers(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-8, 9, shape, generator=generator).double()


def add(x_t: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """A step whose state is the sum so far."""
    return total + x_t, total + x_t


def count(x_t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """A step with a state of two tensors: the sum so far, and the number of steps."""
    total, steps = state
    return total + x_t, (total + x_t, steps + 1)


def pad(packed: PackedSequence) -> Tensor:
    return pad_packed_sequence(packed)[0]


def test_unroll_hands_each_step_the_state_of_the_step_before() -> None:
    x, h_0 = integers(SEQ, BATCH, FEATURES), integers(BATCH, FEATURES, seed=1)
    output, state = unroll(add, x, h_0)
    assert torch.equal(output, h_0 + x.cumsum(0))
    assert torch.equal(state, output[-1])


def test_unroll_leaves_each_packed_sequence_in_the_state_it_ended_in() -> None:
    x, h_0 = integers(SEQ, BATCH, FEATURES), integers(BATCH, FEATURES, seed=1)
    output, (total, steps) = unroll(count, pack_padded_sequence(x, LENGTHS), (h_0, torch.zeros(BATCH, 1)))
    assert steps.squeeze(1).tolist() == LENGTHS
    for b, length in enumerate(LENGTHS):
        alone, last = unroll(add, x[:length, b : b + 1], h_0[b : b + 1])
        assert torch.equal(pad(output)[:length, b], alone[:, 0])
        assert torch.equal(total[b], last[0])


def test_unroll_of_unsorted_sequences_keeps_their_order() -> None:
    x = integers(SEQ, BATCH, FEATURES)
    packed = pack_padded_sequence(x, [1, 4, 2], enforce_sorted=False)
    output, _ = unroll(add, packed, torch.zeros(BATCH, FEATURES, dtype=torch.float64))
    assert torch.equal(output.unsorted_indices, packed.unsorted_indices)
    assert torch.equal(pad(output)[:, 1], x[:, 1].cumsum(0))


def test_bidirectional_reads_backward_and_writes_forward() -> None:
    x, h_0 = integers(SEQ, BATCH, FEATURES), integers(2, BATCH, FEATURES, seed=1)
    output, state = Bidirectional(Unrolled(add), Unrolled(add))(x, h_0)
    forward, backward = output.chunk(2, dim=-1)
    assert torch.equal(forward, h_0[0] + x.cumsum(0))
    assert torch.equal(backward, h_0[1] + x.flip(0).cumsum(0).flip(0))
    assert torch.equal(state, torch.stack([forward[-1], backward[0]]))


def test_bidirectional_flips_each_packed_sequence_within_its_own_length() -> None:
    x, h_0 = integers(SEQ, BATCH, FEATURES), integers(2, BATCH, FEATURES, seed=1)
    layer = Bidirectional(Unrolled(add), Unrolled(add))
    output, state = layer(pack_padded_sequence(x, LENGTHS), h_0)
    for b, length in enumerate(LENGTHS):
        alone, last = layer(x[:length, b : b + 1], h_0[:, b : b + 1])
        assert torch.equal(pad(output)[:length, b], alone[:, 0])
        assert torch.equal(state[:, b], last[:, 0])


def test_the_example_of_flip_time_is_true() -> None:
    example = doctest.DocTestParser().get_doctest(sequences.flip_time.__doc__, vars(sequences), "flip_time", None, None)
    assert doctest.DocTestRunner().run(example) == (0, 4)


def test_wrappers_nest_either_way() -> None:
    x, h_0 = integers(SEQ, BATCH, FEATURES), integers(4, BATCH, FEATURES, seed=1)
    stack = Stacked([Unrolled(add), Unrolled(add)])
    output, state = Bidirectional(stack, stack)(x, h_0)
    forward, forward_state = stack(x, h_0[:2])
    backward, backward_state = stack(x.flip(0), h_0[2:])
    assert torch.equal(output, torch.cat([forward, backward.flip(0)], dim=-1))
    assert torch.equal(state, torch.cat([forward_state, backward_state]))


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("packed", [False, True])
def test_wrappers_take_layers_of_torch_nn(kind: type[nn.RNNBase], packed: bool) -> None:
    hidden = 3
    whole = small(kind(FEATURES, hidden, num_layers=2, bidirectional=True, dtype=torch.float64))
    stack = Stacked(
        [Bidirectional(*(direction_of(whole, layer, suffix) for suffix in ("", "_reverse"))) for layer in range(2)]
    )
    x, h_0 = integers(SEQ, BATCH, FEATURES) / 8, integers(4, BATCH, hidden, seed=1) / 8
    input: Any = pack_padded_sequence(x, LENGTHS) if packed else x
    state = (h_0, h_0.flip(0)) if kind is nn.LSTM else h_0

    (output, final), (expected, expected_final) = stack(input, state), whole(input, state)

    # With recurrent and input weights this small one step at most doubles the error it is handed.
    bound = 2 ** (2 * SEQ) * step_bound(2 * hidden + hidden + 2)
    assert_within(output.data, expected.data, bound)
    for tensor, expected_tensor in zip(tensors(final), tensors(expected_final), strict=True):
        assert_within(tensor, expected_tensor, bound)


def small(layer: nn.RNNBase) -> nn.RNNBase:
    """Scale the weights so that the rows of no matrix sum to more than 1/4."""
    layer.requires_grad_(False)
    for parameter in layer.parameters():
        parameter.div_(4 * max(parameter.abs().sum(-1).max(), 1))
    return layer


def direction_of(whole: nn.RNNBase, layer: int, suffix: str) -> nn.RNNBase:
    """One direction of one layer of a built-in, as a built-in of its own."""
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    weights = {f"{name}_l0": whole.get_parameter(f"{name}_l{layer}{suffix}") for name in names}
    part = type(whole)(weights["weight_ih_l0"].shape[1], whole.hidden_size, dtype=torch.float64)
    part.load_state_dict(weights)
    return part.requires_grad_(False)


def tensors(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)
