"""RNNCell, GRUCell and LSTMCell take, give and refuse what those of torch.nn do."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnn_parity import manual
from rnn_parity.tests.unit.rounding import assert_within, step_bound

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
    assert_same_error(*(lambda m=m: getattr(m, kind)(*sizes, **options) for m in (manual, nn)))


BAD_CALLS: dict[str, Callable[[str], tuple[Any, ...]]] = {
    "input without features": lambda kind: (torch.zeros(()),),
    "input 3-D": lambda kind: (torch.zeros(1, BATCH, INPUT),),
    "features": lambda kind: (torch.zeros(BATCH, INPUT + 1),),
    "features, unbatched": lambda kind: (torch.zeros(INPUT + 1),),
    "state 3-D": lambda kind: (torch.zeros(BATCH, INPUT), state_of(kind, 1, BATCH, HIDDEN)),
    "state 1-D for a batch": lambda kind: (torch.zeros(BATCH, INPUT), state_of(kind, HIDDEN)),
    "state 2-D without a batch": lambda kind: (torch.zeros(INPUT), state_of(kind, 1, HIDDEN)),
    "state features": lambda kind: (torch.zeros(BATCH, INPUT), state_of(kind, BATCH, HIDDEN + 1)),
    "state batch": lambda kind: (torch.zeros(BATCH, INPUT), state_of(kind, BATCH + 1, HIDDEN)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", BAD_CALLS)
def test_refuses_what_torch_refuses_in_its_words(kind: str, case: str) -> None:
    arguments = BAD_CALLS[case](kind)
    assert_same_error(*(lambda m=m: build(m, kind)(*arguments) for m in (manual, nn)))


@pytest.mark.parametrize("count", [1, 3])
def test_an_lstm_cell_wants_two_states(count: int) -> None:
    states = (torch.zeros(BATCH, HIDDEN),) * count
    assert_same_error(*(lambda m=m: build(m, "LSTMCell")(torch.zeros(BATCH, INPUT), states) for m in (manual, nn)))


def test_an_unknown_nonlinearity_is_refused_at_the_call() -> None:
    assert_same_error(
        *(lambda m=m: build(m, "RNNCell", nonlinearity="cube")(torch.zeros(BATCH, INPUT)) for m in (manual, nn))
    )


# Here torch.nn's own words come from whichever kernel meets the tensor first, so only the class is compared.
KERNEL_ERRORS: dict[str, Callable[[str], tuple[Any, ...]]] = {
    "input dtype": lambda kind: (torch.zeros(BATCH, INPUT).double(),),
    "state dtype": lambda kind: (
        torch.zeros(BATCH, INPUT),
        state_of(kind, BATCH, HIDDEN, dtype=torch.float64),
    ),
    "input device": lambda kind: (torch.empty(BATCH, INPUT, device="meta"),),
    "state device": lambda kind: (torch.zeros(BATCH, INPUT), state_of(kind, BATCH, HIDDEN, device="meta")),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", KERNEL_ERRORS)
def test_refuses_another_dtype_and_device(kind: str, case: str) -> None:
    arguments = KERNEL_ERRORS[case](kind)
    for module in (manual, nn):
        with pytest.raises(RuntimeError):
            build(module, kind)(*arguments)


def assert_same_error(call: Callable[[], Any], builtin_call: Callable[[], Any]) -> None:
    with pytest.raises(Exception) as expected:  # noqa: PT011 (compared below)
        builtin_call()
    with pytest.raises(type(expected.value)) as error:
        call()
    assert type(error.value) is type(expected.value)
    assert str(error.value) == str(expected.value)
