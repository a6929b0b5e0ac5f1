"""How long forward and a training step take: built-in, manual, and the RNN's product for each sample.

    pytest bench/bench_layers.py --benchmark-json FILE.json
    python -m rnn_parity.bench.table FILE.json

The implementations of one shape run right after each other, in two passes of which the second goes in reverse
order, so that a machine that speeds up or slows down favours none. Times are in seconds a call.
"""

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from rnn_parity import manual
from rnn_parity.judge.verdict import exact_products

KINDS = ("RNN", "GRU", "LSTM")
DEVICES = ("cpu", "cuda")
PASSES = 2


class Shape(NamedTuple):
    """Sizes of one benchmark: batch, seq_len, input_size, hidden_size."""

    B: int
    T: int
    I: int  # noqa: E741 (the letter of the table)
    H: int

    def __str__(self) -> str:
        return " ".join(f"{name}{size}" for name, size in self._asdict().items())


SHAPES = [
    Shape(10, 30, 5, 8),
    Shape(64, 28, 28, 64),
    Shape(100, 28, 28, 128),
    Shape(32, 35, 28, 256),
    Shape(32, 35, 28, 512),
]


class Arm(NamedTuple):
    """One implementation: what maps the input to the output, and the parameters it trains."""

    run: Callable[[Tensor], Tensor]
    parameters: list[nn.Parameter]


def builtin(kind: str, shape: Shape, device: str) -> nn.RNNBase:
    torch.manual_seed(0)
    layer: nn.RNNBase = getattr(nn, kind)(shape.I, shape.H, device=device)
    return layer


def make_arm(implementation: str, kind: str, shape: Shape, device: str) -> Arm:
    reference = builtin(kind, shape, device)
    if implementation == "per-sample":
        h_0 = torch.zeros(shape.B, shape.H, device=device)
        W_ih, W_hh, b_ih, b_hh = parameters = list(reference.parameters())
        return Arm(lambda x: manual.rnn_forward_per_sample(x, h_0, W_ih, W_hh, b_ih, b_hh)[0], parameters)
    layer: nn.Module = reference
    if implementation == "manual":
        layer = getattr(manual, kind)(shape.I, shape.H, device=device)
        layer.load_state_dict(reference.state_dict())
    return Arm(lambda x: layer(x)[0], list(layer.parameters()))


def make_step(step: str, arm: Arm, x: Tensor, cotangent: Tensor) -> Callable[[], Any]:
    """The call that is timed, complete when it returns."""

    def forward() -> Tensor:
        with torch.no_grad():
            return arm.run(x)

    def train() -> list[Tensor]:
        return [*torch.autograd.grad(arm.run(x), arm.parameters, cotangent)]

    call: Callable[[], Any] = {"forward": forward, "training": train}[step]
    if not x.is_cuda:
        return call

    def synchronized() -> Any:
        result = call()
        torch.cuda.synchronize()
        return result

    return synchronized


def assert_equal_results(arm: Arm, kind: str, shape: Shape, x: Tensor, cotangent: Tensor) -> None:
    """Hold output and gradients against the built-in in float64, on the CPU.

    float32 must err: the built-in's own error on the same input says how much, to a factor. Other orders of
    summation were measured within 8 times it plus 8 roundings of the largest element.
    """
    exact = builtin(kind, shape, x.device.type).cpu().double()
    near = make_arm("builtin", kind, shape, x.device.type)
    truth = results(Arm(lambda x: exact(x)[0], list(exact.parameters())), x.cpu().double(), cotangent.cpu().double())
    unit_roundoff = torch.finfo(x.dtype).eps / 2
    for true, ours, theirs in zip(truth, results(arm, x, cotangent), results(near, x, cotangent), strict=True):
        error, own_error = ((tensor.cpu().double() - true).abs().max() for tensor in (ours, theirs))
        bound = 8 * (own_error + unit_roundoff * true.abs().max())
        assert error <= bound, f"error {error:.3g}, bound {bound:.3g}"


def results(arm: Arm, x: Tensor, cotangent: Tensor) -> list[Tensor]:
    output = arm.run(x)
    return [output, *torch.autograd.grad(output, arm.parameters, cotangent)]


def cases() -> list[Any]:
    """Every benchmark, in the order in which they run."""
    listed = []
    for device, turn, kind, shape, step in product(DEVICES, range(PASSES), KINDS, SHAPES, ("forward", "training")):
        implementations = ["builtin", "manual", *(["per-sample"] if kind == "RNN" else [])]
        for implementation in implementations[:: -1 if turn % 2 else 1]:
            name = f"{device}-{kind}-{shape}-{step}-{implementation}-{turn}".replace(" ", "")
            listed.append(pytest.param(device, kind, shape, step, implementation, id=name))
    return listed


@pytest.mark.benchmark(max_time=0.5, min_rounds=5, warmup=True, warmup_iterations=2, disable_gc=True)
@pytest.mark.parametrize(("device", "kind", "shape", "step", "implementation"), cases())
def test_time(benchmark: Any, device: str, kind: str, shape: Shape, step: str, implementation: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device: torch.cuda.is_available() is False")
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(shape.T, shape.B, shape.I, generator=generator).to(device)
    cotangent = torch.randn(shape.T, shape.B, shape.H, generator=generator).to(device)
    arm = make_arm(implementation, kind, shape, device)
    benchmark.group = f"{device} {kind} {shape} {step}"
    benchmark.extra_info |= {
        "device": device,
        "kind": kind,
        "shape": str(shape),
        "step": step,
        "implementation": implementation,
    }
    with exact_products():  # no TF32: the built-in alone would use it on CUDA
        assert_equal_results(arm, kind, shape, x, cotangent)
        benchmark(make_step(step, arm, x, cotangent))
