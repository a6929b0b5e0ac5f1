"""The layers by hand against those of PyTorch: the same results and the same gradients, whatever they are given.

Hypothesis draws the shapes, a seed the numbers. How far apart rounding may put the two is not chosen here: each is held
to the judge's bound, which it makes of how sensitive the equations in `reference/` are to rounding.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnn_parity.judge.core.bounds import bounds
from rnn_parity.manual import GRU, LSTM, RNN, Bidirectional, Unrolled, gru_cell, lstm_cell, rnn_cell
from rnn_parity.reference.oracle import Inputs
from rnn_parity.reference.spec import LayerSpec
from rnn_parity.tests import profiles  # noqa: F401 (HYPOTHESIS_PROFILE says how many examples)

# By hand, and built in. The RNN's cell is its step by bmm, those of the GRU and the LSTM the equations of their gates.
CELLS = {"rnn": (rnn_cell, nn.RNNCell), "gru": (gru_cell, nn.GRUCell), "lstm": (lstm_cell, nn.LSTMCell)}
LAYERS = {"rnn": (RNN, nn.RNN), "gru": (GRU, nn.GRU), "lstm": (LSTM, nn.LSTM)}

SIZES = {"input_size": st.integers(1, 9), "hidden_size": st.integers(1, 9), "bias": st.booleans()}
STACK = {"num_layers": st.integers(1, 3), "bidirectional": st.booleans(), "batch_first": st.booleans()}
BATCH = {"lengths": st.lists(st.integers(1, 12), min_size=1, max_size=6), "packed": st.booleans()}
SEED = st.integers(0, 2**32 - 1)
cuda = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))
pytestmark = [pytest.mark.parametrize("kind", LAYERS), pytest.mark.parametrize("device", ["cpu", cuda])]


@given(sizes=st.fixed_dictionaries(SIZES), batch=st.integers(1, 9), seed=SEED)
def test_cell(kind: str, device: str, sizes: dict[str, Any], batch: int, seed: int) -> None:
    manual_cell, BuiltinCell = CELLS[kind]
    builtin = randomized(BuiltinCell(**sizes, device=device, dtype=torch.float64), seed)
    weights = dict(builtin.named_parameters())
    parameters = {f"{name}_l0": weight for name, weight in weights.items()}
    for cell in (lambda x_t, state: manual_cell(x_t, *as_tuple(state), **weights), builtin):  # type: ignore[operator]
        assert_parity(LayerSpec(kind, **sizes), over_time(cell), parameters, seed, lengths=[1] * batch)


@given(options=st.fixed_dictionaries(SIZES | STACK), batch=st.fixed_dictionaries(BATCH), seed=SEED)
def test_layer(kind: str, device: str, options: dict[str, Any], batch: dict[str, Any], seed: int) -> None:
    by_hand, builtin = (Layer(**options, device=device, dtype=torch.float64) for Layer in LAYERS[kind])
    by_hand.load_state_dict(randomized(builtin, seed).state_dict())
    for layer in (by_hand, builtin):
        assert_parity(LayerSpec(kind, **options), layer, dict(layer.named_parameters()), seed, **batch)


@given(sizes=st.fixed_dictionaries(SIZES), batch=st.fixed_dictionaries(BATCH), seed=SEED)
def test_bidirectional(kind: str, device: str, sizes: dict[str, Any], batch: dict[str, Any], seed: int) -> None:
    spec = LayerSpec(kind, **sizes, bidirectional=True)
    builtin = randomized(LAYERS[kind][1](**sizes, bidirectional=True, device=device, dtype=torch.float64), seed)
    assert_parity(spec, builtin, dict(builtin.named_parameters()), seed, **batch)
    for Layer in LAYERS[kind]:  # around two by hand, and around two built-ins
        forward, backward = (Layer(**sizes, device=device, dtype=torch.float64) for _ in range(2))
        parameters = dict(forward.named_parameters())
        parameters |= {f"{name}_reverse": weight for name, weight in backward.named_parameters()}
        for name, weight in builtin.named_parameters():
            parameters[name].data.copy_(weight)
        assert_parity(spec, Bidirectional(forward, backward), parameters, seed, **batch)


def randomized(layer: Any, seed: int) -> Any:
    """Give a layer weights from a normal distribution: those that torch.nn starts from are small, and hide faults."""
    torch.manual_seed(seed)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer


def over_time(cell: Callable[[Tensor, Any], Any]) -> Unrolled:
    """Make a layer of a cell, which returns its new state alone: h_t, or (h_t, c_t) for the LSTM."""

    def step(x_t: Tensor, state: Any) -> tuple[Tensor, Any]:
        state = cell(x_t, state)
        return as_tuple(state)[0], state

    return Unrolled(step)


def as_tuple(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def assert_parity(
    spec: LayerSpec, layer: Any, parameters: dict[str, Tensor], seed: int, lengths: list[int], packed: bool = False
) -> None:
    """Run a layer forward and backward, and hold every result and every gradient to its bound."""
    torch.manual_seed(seed)
    states, rows = ("h", "c") if spec.kind == "lstm" else ("h",), spec.num_layers * spec.num_directions
    drawn = {"input": torch.randn(max(lengths), len(lengths), spec.input_size)}
    drawn |= {f"{s}_0": torch.randn(rows, len(lengths), spec.hidden_size) for s in states}
    drawn = {name: tensor.to(parameters["weight_ih_l0"]).requires_grad_() for name, tensor in drawn.items()}

    input, *state = drawn.values()
    sequences: Any = input.transpose(0, 1) if spec.batch_first else input
    if packed:
        sequences = pack_padded_sequence(sequences, lengths, spec.batch_first, enforce_sorted=False)
    output, state = layer(sequences, tuple(state) if len(state) > 1 else state[0])
    output = pad_packed_sequence(output, spec.batch_first)[0] if packed else output
    results = {"output": output.transpose(0, 1) if spec.batch_first else output}
    results |= {f"{s}_n": tensor for s, tensor in zip(states, as_tuple(state), strict=True)}

    cotangents, leaves = {name: torch.randn_like(tensor) for name, tensor in results.items()}, drawn | parameters
    gradients = torch.autograd.grad([*results.values()], [*leaves.values()], [*cotangents.values()])
    found = wide(results | {f"{name}.grad": gradient for name, gradient in zip(leaves, gradients, strict=True)})

    inputs = Inputs(**wide(drawn), lengths=lengths if packed else None, cotangents=wide(cotangents))
    for name, bound in bounds(spec, wide(parameters), inputs, torch.float64).items():
        error = np.abs(found[name] - bound.truth).max()
        assert error <= bound.limit, f"{name}: {error:.3g} from the truth, {bound.limit:.3g} allowed, by {layer}"


def wide(tensors: dict[str, Tensor]) -> dict[str, Any]:  # the oracle's precision
    return {name: tensor.detach().cpu().numpy().astype(np.longdouble) for name, tensor in tensors.items()}
