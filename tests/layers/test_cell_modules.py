"""RNNCell, GRUCell and LSTMCell take, give and refuse what those of torch.nn do."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnn_parity import manual
from rnn_parity.tests.layers.errors import assert_same_class
from rnn_parity.tests.layers.rounding import assert_same_digits, assert_within, step_bound

KINDS = ["RNNCell", "GRUCell", "LSTMCell"]
BATCH, INPUT, HIDDEN = 3, 2, 4
SPECS: list[tuple[str, dict[str, Any]]] = [(kind, {"bias": bias}) for kind in KINDS for bias in (True, False)]
SPECS.append(("RNNCell", {"nonlinearity": "relu"}))


def build(module: Any, kind: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return getattr(module, kind)(INPUT, HIDDEN, **options)


def state_of(kind: str, *shape: int, **options: Any) -> Any:
    h, c = (
        torch.randn(shape, **options) if options.get("device") != "meta" else torch.empty(shape, **options)
        for _ in range(2)
    )
    return (h, c) if kind == "LSTMCell" else h


def tensors(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


@pytest.mark.parametrize(("kind", "options"), SPECS)
def test_parameters_and_text_are_those_of_torch(kind: str, options: dict[str, Any]) -> None:
    cell, builtin = build(manual, kind, **options), build(nn, kind, **options)
    for (name, parameter), (expected_name, expected) in zip(
        cell.named_parameters(), builtin.named_parameters(), strict=True
    ):
        assert name == expected_name
        assert torch.equal(parameter, expected)
    assert repr(cell) == repr(builtin)
    assert cell.bias_ih is None or options.get("bias", True)
    cell.load_state_dict(builtin.state_dict())
    builtin.load_state_dict(cell.state_dict())


@pytest.mark.parametrize(("kind", "options"), SPECS)
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("with_state", [True, False])
def test_a_step_is_that_of_torch(kind: str, options: dict[str, Any], batched: bool, with_state: bool) -> None:
    cell, builtin = (build(module, kind, dtype=torch.float64, **options) for module in (manual, nn))
    batch = (BATCH,) if batched else ()
    x = torch.rand(*batch, INPUT, dtype=torch.float64)
    h, c = torch.rand(2, *batch, HIDDEN, dtype=torch.float64)
    arguments = (x, (h, c) if kind == "LSTMCell" else h) if with_state else (x,)
    actual, expected = cell(*arguments), builtin(*arguments)
    assert type(actual) is type(expected)
    for tensor, expected_tensor in zip(tensors(actual), tensors(expected), strict=True):
        assert_within(tensor, expected_tensor, step_bound(INPUT + HIDDEN + 2))


@pytest.mark.parametrize("kind", KINDS)
def test_takes_positional_arguments_in_the_order_of_torch(kind: str) -> None:
    nonlinearity = ("relu",) if kind == "RNNCell" else ()
    for module in (manual, nn):
        cell = getattr(module, kind)(INPUT, HIDDEN, False, *nonlinearity, "cpu", torch.float64)
        assert cell.weight_ih.dtype == torch.float64
        assert cell.bias_ih is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("sizes", "options"), [((-1, 3), {}), ((3, -1), {}), ((2, 3), {"device": "nowhere"})])
def test_refuses_what_torch_refuses_to_build(kind: str, sizes: Any, options: dict[str, Any]) -> None:
    assert_same_class(*(lambda m=m: getattr(m, kind)(*sizes, **options) for m in (manual, nn)))


# The arguments of a call that torch.nn refuses, and what our message says was expected and what came.
BAD_CALLS: dict[str, tuple[Callable[[str], tuple[Any, ...]], str]] = {
    "input without features": (lambda kind: (torch.zeros(()),), "input of 2 dimensions, .* got 0"),
    "input 3-D": (lambda kind: (torch.zeros(1, BATCH, INPUT),), "input of 2 dimensions, .* got 3"),
    "features": (lambda kind: (torch.zeros(BATCH, INPUT + 1),), r"input of shape \(3, 2\) .* got \(3, 3\)"),
    "features, unbatched": (lambda kind: (torch.zeros(INPUT + 1),), r"input of shape \(2,\) .* got \(3,\)"),
    "state 3-D": (
        lambda kind: (torch.zeros(BATCH, INPUT), state_of(kind, 1, BATCH, HIDDEN)),
        "h of 2 dimensions, .* got 3",
    ),
    "state 1-D for a batch": (
        lambda kind: (torch.zeros(BATCH, INPUT), state_of(kind, HIDDEN)),
        r"h of shape \(3, 4\) .* got \(4,\)",
    ),
    "state 2-D without a batch": (
        lambda kind: (torch.zeros(INPUT), state_of(kind, 1, HIDDEN)),
        r"h of shape \(4,\) .* got \(1, 4\)",
    ),
    "state features": (
        lambda kind: (torch.zeros(BATCH, INPUT), state_of(kind, BATCH, HIDDEN + 1)),
        r"h of shape \(3, 4\) .* got \(3, 5\)",
    ),
    "state batch": (
        lambda kind: (torch.zeros(BATCH, INPUT), state_of(kind, BATCH + 1, HIDDEN)),
        r"h of shape \(3, 4\) .* got \(4, 4\)",
    ),
    "state of another kind": (
        lambda kind: (
            torch.zeros(BATCH, INPUT),
            state_of("RNNCell" if kind == "LSTMCell" else "LSTMCell", BATCH, HIDDEN),
        ),
        "tuple of 2 tensors .* got one tensor|1 of Tensor, got tuple",
    ),
    "input dtype": (lambda kind: (torch.zeros(BATCH, INPUT).double(),), "input of .* torch.float32, got torch.float64"),
    "state dtype": (
        lambda kind: (torch.zeros(BATCH, INPUT), state_of(kind, BATCH, HIDDEN, dtype=torch.float64)),
        "h of .* torch.float32, got torch.float64",
    ),
    "input device": (lambda kind: (torch.empty(BATCH, INPUT, device="meta"),), r"input of .* on cpu, got .* on meta"),
    "state device": (
        lambda kind: (torch.zeros(BATCH, INPUT), state_of(kind, BATCH, HIDDEN, device="meta")),
        r"h of .* on cpu, got .* on meta",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", BAD_CALLS)
def test_refuses_what_torch_refuses(kind: str, case: str) -> None:
    arguments, message = BAD_CALLS[case]
    assert_same_class(*(lambda m=m: build(m, kind)(*arguments(kind)) for m in (manual, nn)), message)


@pytest.mark.parametrize("count", [1, 3])
def test_an_lstm_cell_wants_two_states(count: int) -> None:
    states = (torch.zeros(BATCH, HIDDEN),) * count
    calls = (lambda m=m: build(m, "LSTMCell")(torch.zeros(BATCH, INPUT), states) for m in (manual, nn))
    assert_same_class(*calls, f"tuple of 2 tensors .* got {count} tensors")


def test_an_unknown_nonlinearity_is_refused_at_the_call() -> None:
    calls = (lambda m=m: build(m, "RNNCell", nonlinearity="cube")(torch.zeros(BATCH, INPUT)) for m in (manual, nn))
    assert_same_class(*calls, "'tanh' or 'relu', got 'cube'")


def test_gradients_add_up_over_calls() -> None:
    cell, builtin = (build(module, "RNNCell", dtype=torch.float64) for module in (manual, nn))
    x = torch.randn(INPUT, dtype=torch.float64)  # one sequence: gradients that share memory would be counted twice
    for module in (cell, builtin):
        for _ in range(3):
            module(x).sum().backward()
    for parameter, expected in zip(cell.parameters(), builtin.parameters(), strict=True):
        assert_same_digits(parameter.grad, expected.grad)
