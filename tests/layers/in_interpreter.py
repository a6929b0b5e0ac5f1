"""The results of the Triton engine against torch.nn in float64.

`test_triton.py` runs this in Triton's interpreter, on the CPU; where there is a GPU,

    pytest --pyargs rnn_parity.tests.layers.in_interpreter

runs the compiled kernels.
"""

import os
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from triton.runtime import interpreter

from rnn_parity.manual import fused
from rnn_parity.manual.fused import layers
from rnn_parity.manual.fused.call import Call
from rnn_parity.manual.fused.triton import Triton, launch, plans

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu"}),
    ("GRU", {}),
    ("LSTM", {}),
]
INPUT = 3

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"

if INTERPRETED:
    # So that weights stay on the chip in the largest layers too, which it multiplies in float32 all the same.
    torch.backends.cuda.matmul.fp32_precision = "tf32"


class OnAnyDevice(Triton):
    """The engine, which in the interpreter takes tensors on the CPU."""

    def takes(self, call: Call) -> bool:
        return True


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave calls to this engine alone, so that none goes another way unseen."""
    for kind in ("RNN", "GRU", "LSTM"):
        monkeypatch.setattr(getattr(layers, kind), "engines", (OnAnyDevice(),))
    if INTERPRETED:
        monkeypatch.setattr(launch, "shared_memory", lambda device: 1 << 20)
    torch.manual_seed(0)


@pytest.fixture(params=[True, False], ids=["staying", "streamed"])
def _form(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Have the weights stay on the chip where they can, or read at each step."""
    if not request.param:
        monkeypatch.setattr(plans, "staying", lambda *layer: None)


@pytest.fixture
def _products_of_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the interpreter widen bfloat16 before it multiplies: it takes their bits for whole numbers."""
    if not INTERPRETED:
        return
    multiply = interpreter.InterpreterBuilder.create_dot

    def widened(block: Any) -> Any:
        numbers = (block.data.astype(np.uint32) << 16).view(np.float32)
        return interpreter.TensorHandle(numbers, interpreter.tl.float32)

    def dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        return multiply(self, widened(a), widened(b), *rest)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", dot)


def pair(kind: str, H: int, dtype: torch.dtype = torch.float32, **options: Any) -> tuple[nn.Module, nn.Module]:
    """A layer and that of torch.nn in float64, with the same weights."""
    layer = getattr(fused, kind)(INPUT, H, dtype=dtype, device=DEVICE, **options)
    exact = getattr(nn, kind)(INPUT, H, dtype=torch.float64, **options)
    exact.load_state_dict(layer.state_dict())
    return layer, exact


def flat(results: Any) -> list[Tensor]:
    output, state = results
    return [
        output.data if isinstance(output, PackedSequence) else output,
        *([state] if torch.is_tensor(state) else state),
    ]


def run(module: nn.Module, x: Tensor, states: list[Tensor], lengths: list[int] | None) -> tuple[list[Tensor], Any]:
    """Output and final states in the layer's dtype, and input, states and weights, which require gradients."""
    weight = next(module.parameters())
    x, *states = (t.detach().to(weight).requires_grad_() for t in (x, *states))
    input: Any = x if lengths is None else pack_padded_sequence(x, lengths, enforce_sorted=False)
    results = flat(module(input, states[0] if len(states) == 1 else tuple(states)))
    return results, [x, *states, *(p for p in module.parameters() if p.requires_grad)]


def assert_equal_results(
    modules: tuple[nn.Module, nn.Module], seq: int, batch: int, packed: bool, asked: slice = slice(None)
) -> None:
    """Hold output, states and all gradients of a random loss, on the results `asked` for, to half of the digits."""
    dtype = next(modules[0].parameters()).dtype
    directions, H = 1 + modules[0].bidirectional, modules[0].hidden_size
    x = torch.randn(seq, batch, INPUT).to(dtype)
    states = [torch.randn(directions, batch, H).to(dtype) for _ in range(1 + isinstance(modules[1], nn.LSTM))]
    lengths = [seq, *torch.randint(1, seq + 1, (batch - 1,)).tolist()] if packed else None
    found = []
    for module in modules:
        results, leaves = run(module, x, states, lengths)
        torch.manual_seed(1)
        loss = sum((t * torch.randn(t.shape).to(t)).sum() for t in results[asked])
        found.append([*results, *torch.autograd.grad(loss, leaves, materialize_grads=True)])
    for ours, exact in zip(*found, strict=True):
        assert ours.shape == exact.shape
        error = (ours.double().cpu() - exact).abs().max()
        assert error <= torch.finfo(dtype).eps ** 0.5 * exact.abs().max()


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize(
    ("H", "seq", "batch", "packed", "more"),
    [
        (1, 1, 1, False, {}),
        (1, 4, 3, True, {"bias": False}),
        (5, 4, 17, True, {"bidirectional": True}),
        (16, 5, 16, False, {"bidirectional": True}),
        (17, 3, 33, True, {"bidirectional": True, "bias": False}),
        (33, 3, 3, False, {"bidirectional": True}),
        (64, 3, 20, True, {"bidirectional": True}),
        pytest.param(100, 2, 5, True, {"bidirectional": True}, marks=pytest.mark.slow),
        (128, 3, 18, False, {}),
        (129, 2, 3, True, {}),
        pytest.param(200, 3, 18, False, {"bias": False}, marks=pytest.mark.slow),
        pytest.param(256, 3, 18, True, {"bidirectional": True}, marks=pytest.mark.slow),
    ],
)
def test_equals_torch(
    kind: str, options: dict[str, Any], H: int, seq: int, batch: int, packed: bool, more: dict[str, Any]
) -> None:
    assert_equal_results(pair(kind, H, **options, **more), seq, batch, packed)


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize(
    ("H", "seq", "batch", "packed", "more"),
    [
        (5, 4, 17, True, {"bidirectional": True}),
        (33, 3, 3, False, {"bidirectional": True, "bias": False}),
        pytest.param(128, 3, 18, True, {"bidirectional": True}, marks=pytest.mark.slow),
    ],
)
def test_equals_torch_where_the_weights_do_not_stay(
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    options: dict[str, Any],
    H: int,
    seq: int,
    batch: int,
    packed: bool,
    more: dict[str, Any],
) -> None:
    monkeypatch.setattr(plans, "staying", lambda *layer: None)
    assert_equal_results(pair(kind, H, **options, **more), seq, batch, packed)


@pytest.mark.usefixtures("_form")
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_equals_torch_in_float16(kind: str, options: dict[str, Any]) -> None:
    assert_equal_results(pair(kind, 17, torch.float16, bidirectional=True, **options), 3, 17, packed=True)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])  # with relu the rounding decides on which side of 0 a sum is
@pytest.mark.usefixtures("_form", "_products_of_bfloat16")
def test_equals_torch_in_bfloat16(kind: str) -> None:
    assert_equal_results(pair(kind, 17, torch.bfloat16, bidirectional=True), 3, 17, packed=True)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("asked", [slice(0, 1), slice(1, 2), slice(-1, None)], ids=["output", "h_n", "last"])
def test_a_loss_on_one_result_alone(kind: str, asked: slice) -> None:
    assert_equal_results(pair(kind, 5, bidirectional=True), 3, 3, True, asked)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("trained", ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "none"])
def test_one_parameter_alone_gets_its_gradient(kind: str, trained: str) -> None:
    modules = pair(kind, 5)
    for module in modules:
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name == trained)
    assert_equal_results(modules, 3, 3, False)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_memory_that_is_not_contiguous(kind: str) -> None:
    layer, exact = pair(kind, 5, batch_first=True)
    with torch.no_grad():
        layer.weight_hh_l0.set_(layer.weight_hh_l0.t().contiguous().t())
    x = torch.randn(4, INPUT, 3).transpose(1, 2)
    for ours, expected in zip(flat(layer(x.to(DEVICE))), flat(exact(x.double())), strict=True):
        torch.testing.assert_close(ours.double().cpu(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_without_gradients_the_results_are_the_same(kind: str) -> None:
    layer, _ = pair(kind, 5, bidirectional=True)
    x = torch.randn(3, 3, INPUT, device=DEVICE)
    kept = flat(layer(x))
    with torch.no_grad():
        assert all(map(torch.equal, flat(layer(x)), kept))


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_results_overwritten_leave_the_gradients_right(kind: str) -> None:
    layer, _ = pair(kind, 5, bidirectional=True)
    x, found = torch.randn(3, 3, INPUT, device=DEVICE), []
    for overwrite in (False, True):
        results = flat(layer(x))
        loss = sum(t.sum() for t in results)
        if overwrite:
            for t in results:
                t.detach().zero_()
        found.append(torch.autograd.grad(loss, list(layer.parameters())))
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_second_derivatives(kind: str) -> None:
    x, found = torch.randn(3, 3, INPUT), []
    for module in pair(kind, 5):
        first = torch.autograd.grad(
            module(x.to(module.weight_hh_l0))[0].square().sum(), [module.weight_hh_l0], create_graph=True
        )
        found.append(torch.autograd.grad(first[0].square().sum(), list(module.parameters())))
    for ours, exact in zip(*found, strict=True):
        torch.testing.assert_close(ours.double().cpu(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("_form")
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_what_is_not_finite_stays_in_its_sequence(kind: str, options: dict[str, Any], value: float) -> None:
    layer, exact = pair(kind, 5, **options)
    x = torch.randn(3, 3, INPUT)
    x[1, 1, 0] = value
    for ours, expected in zip(flat(layer(x.to(DEVICE))), flat(exact(x.double())), strict=True):
        torch.testing.assert_close(ours.double().cpu(), expected, equal_nan=True, rtol=1e-5, atol=1e-6)
