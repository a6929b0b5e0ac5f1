"""What a call does, counted: this does not vary, and so needs no statistics.

    python -m rnn_parity.bench.gate.counts PLAN.json COUNTS.json

holds the results of the plan's layers against the truth first. Under valgrind's callgrind, with `--instructions`, each
layer is called once in the smallest shape instead, and callgrind writes what that took.
"""

from __future__ import annotations

import gc
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from rnn_parity.bench.arms import Shape
from rnn_parity.bench.gate.calls import assert_equal_results, calls_of, supports
from rnn_parity.bench.gate.plan import Aggregate, Layer, Plan
from rnn_parity.bench.memory import peak_bytes
from rnn_parity.bench.rounds import Call
from rnn_parity.judge.core.candidate import ImplementationError, one_line

WARM_UP = 2  # calls, after which a layer has set up what it keeps


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operators that reach the kernels, in the backward pass too."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))


def counts_of(call: Call, device: str) -> dict[str, Any]:
    """Count what a call does.

    Returns:
        operators: calls by the operator's name.
        multiply_adds: of the products.
        peak_bytes: at most allocated at once, above what was before.
        saved_bytes: kept for the backward pass, each piece of memory once.
    """
    for _ in range(WARM_UP):
        call()
    with _Operators() as operators:
        call()
    with FlopCounterMode(display=False) as flops:
        call()
    return {
        "operators": dict(sorted(operators.counts.items())),
        "multiply_adds": flops.get_total_flops() // 2,
        "peak_bytes": peak_bytes(call, device),
        "saved_bytes": _saved_bytes(call),
    }


def _saved_bytes(call: Call) -> int:
    saved: dict[int, torch.UntypedStorage] = {}  # kept alive, so that no address is used twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        call()
    return sum(storage.nbytes() for storage in saved.values())


def counted(aggregate: Aggregate, shape: Shape, device: str) -> dict[str, Any]:
    """Hold a layer's results against the truth, then count."""
    assert_equal_results(aggregate, shape, device)
    return counts_of(calls_of(aggregate, shape, device).layer, device)


def _each(plan: Plan, of: Callable[[Aggregate, Shape], Any]) -> dict[str, Any]:
    """Return what holds for each layer: its counts by step and shape, or why there are none."""
    found: dict[str, Any] = {}
    for layer in dict.fromkeys(aggregate.layer for aggregate in plan.aggregates):
        try:
            found[str(layer)] = _of_layer(plan, layer, of)
        except (ImplementationError, AssertionError) as error:
            found[str(layer)] = str(error) if isinstance(error, ImplementationError) else f"wrong: {error}"
        except Exception as error:  # whatever a layer raises
            found[str(layer)] = one_line(error)
    return found


def _of_layer(plan: Plan, layer: Layer, of: Callable[[Aggregate, Shape], Any]) -> dict[str, dict[str, Any]]:
    aggregates = [aggregate for aggregate in plan.aggregates if aggregate.layer == layer and supports(aggregate)]
    return {aggregate.step: {str(shape): of(aggregate, shape) for shape, _ in plan.shapes} for aggregate in aggregates}


def run_once(plan: Plan) -> None:
    """Call each layer of a plan in its first shape, with callgrind collecting; a dump for each."""
    for aggregate in plan.aggregates:
        call = calls_of(aggregate, plan.shapes[0][0], plan.device).layer
        for _ in range(WARM_UP):
            call()
        torch._C._valgrind_toggle()
        call()
        torch._C._valgrind_toggle_and_dump_stats()


def main(plan_file: str, counts_file: str) -> int:
    """Count what a plan asks for, and write it as JSON."""
    plan = Plan.read(Path(plan_file))
    torch.set_num_threads(plan.threads)
    if counts_file == "--instructions":
        gc.disable()
        run_once(plan)
    else:
        found = _each(plan, lambda aggregate, shape: counted(aggregate, shape, plan.device))
        Path(counts_file).write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
