"""Time the layers of a plan beside the built-in ones, in a process of its own.

    python -m rnn_parity.bench.gate.measure PLAN.json TIMES.json

pytest-benchmark takes the rounds and writes them down. Before each round of a layer the built-in has one, the control:
what slows both tells nothing of the layer.
"""

from __future__ import annotations

import gc
import math
import os
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from rnn_parity.bench.arms import Shape
from rnn_parity.bench.gate.calls import calls_of
from rnn_parity.bench.gate.plan import Aggregate, Plan
from rnn_parity.bench.rounds import ROUND_SECONDS, Call, timed
from rnn_parity.judge.core.verdict import exact_products

WARM_UP = 2  # rounds


class Benchmarks:
    """A pytest plugin that asks for each aggregate of a plan in each shape."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give the test each layer and step, shape by shape."""
        cells = [(self.plan, *sized, aggregate) for sized, aggregate in product(self.plan.shapes, self.plan.aggregates)]
        metafunc.parametrize(("plan", "shape", "rounds", "aggregate"), cells, ids=map(str, range(len(cells))))


def repeated(call: Call, device: str) -> Call:
    """Return a call often enough to fill a round, complete on the device; it returns the seconds of one."""
    times = math.ceil(ROUND_SECONDS / min(timed(call, 1, device) for _ in range(WARM_UP)))
    return lambda: timed(call, times, device)


def test_time(benchmark: Any, plan: Plan, shape: Shape, rounds: int, aggregate: Aggregate) -> None:
    layer, control = calls_of(aggregate, shape, plan.device)
    seconds: dict[str, list[float]] = {"layer": [], "control": []}
    calls = {"layer": repeated(layer, plan.device), "control": repeated(control, plan.device)}
    with exact_products():  # no TF32: the built-in alone would use it on CUDA
        benchmark.pedantic(
            lambda: seconds["layer"].append(calls["layer"]()),
            setup=lambda: seconds["control"].append(calls["control"]()),
            rounds=rounds,
            warmup_rounds=WARM_UP,
        )
    benchmark.extra_info |= {"aggregate": str(aggregate), "shape": str(shape)}
    benchmark.extra_info |= {name: of[WARM_UP:] for name, of in seconds.items()}


def pin(threads: int) -> None:
    """Keep this process on as many cores as it has threads: the last, since the first serves what interrupts."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def main(plan_file: str, times_file: str) -> int:
    """Measure a plan, and write pytest-benchmark's JSON."""
    plan = Plan.read(Path(plan_file))
    pin(plan.threads)
    torch.set_num_threads(plan.threads)
    gc.disable()
    # Nothing of what is installed or configured around it: a process is to start fast, and to be the same for all.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    plain = ["-q", "--assert=plain", "-c", os.devnull, "--rootdir", str(Path(__file__).parent)]
    options = ["-p", "no:cacheprovider", "-p", "pytest_benchmark.plugin", f"--benchmark-json={times_file}"]
    return pytest.main([__file__, *plain, *options], plugins=[Benchmarks(plan)])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
