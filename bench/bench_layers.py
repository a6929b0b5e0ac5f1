"""How long forward and a training step take, for tracking over time.

    pytest bench/bench_layers.py --benchmark-autosave
    pytest bench/bench_layers.py --benchmark-compare

shows this run beside the one before; `gate` tells a slowdown from noise, `compare` holds the implementations against
each other. Those of one shape run right after each other, in two passes of which the second goes in reverse order, so
that a machine that speeds up or slows down favours none. Times are in seconds a call.
"""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch

from rnn_parity.bench.arms import KINDS, MODULES, SHAPES, STEPS, Setting, Truth, make_arm, make_call, make_input
from rnn_parity.judge.core.verdict import exact_products

DEVICES = ("cpu", "cuda")
PASSES = 2


def cases() -> list[Any]:
    """Every benchmark, in the order in which they run."""
    listed = []
    for device, turn, kind, shape, step in product(DEVICES, range(PASSES), KINDS, SHAPES, STEPS):
        implementations = [name for name in MODULES if name != "triton"] + ["per-sample"] * (kind == "RNN")
        for implementation in implementations[:: -1 if turn % 2 else 1]:
            name = f"{device}-{kind}-{shape}-{step}-{implementation}-{turn}".replace(" ", "")
            listed.append(pytest.param(device, Setting(kind, shape), step, implementation, id=name))
    return listed


def complete(call: Callable[[], Any], device: str) -> Callable[[], Any]:
    """Return the call that has ended on the device when it returns."""
    if device == "cpu":
        return call

    def synchronized() -> Any:
        result = call()
        torch.cuda.synchronize()
        return result

    return synchronized


@pytest.mark.benchmark(max_time=0.5, min_rounds=5, warmup=True, warmup_iterations=2, disable_gc=True)
@pytest.mark.parametrize(("device", "setting", "step", "implementation"), cases())
def test_time(benchmark: Any, device: str, setting: Setting, step: str, implementation: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device: torch.cuda.is_available() is False")
    benchmark.group = f"{device} {setting} {step}"
    benchmark.extra_info |= {
        "device": device,
        "kind": setting.kind,
        "shape": str(setting.shape),
        "step": step,
        "implementation": implementation,
    }
    with exact_products():  # no TF32: the built-in alone would use it on CUDA
        call = make_call(step, make_arm(implementation, setting, device), *make_input(setting, device))
        Truth(setting, step, device).assert_equal_results(call())
        benchmark(complete(call, device))
