"""Measures the factor of the tolerance, and that nothing right is flagged.

    python -m rnn_parity.bench.calibrate --verdicts 20000 --json FILE

draws a case again and again until each kind and dtype has so many verdicts, judging on each case the built-in, the
manual layer, PyTorch's decomposition of it, and two that compute in another order. It prints error over
(spread + u * max|truth|) of every tensor, which the factor F of `judge/tolerance.py` is to stand well above, and how
many cases were flagged: the false alarms, each with the case, which end the run with status 1. Ctrl-C ends it with what
has been measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from tqdm import tqdm

from rnn_parity.bench.right import RIGHT
from rnn_parity.judge.checks.equations import judge
from rnn_parity.judge.checks.nonfinite import PLANTS, planted
from rnn_parity.judge.checks.second_order import second_order
from rnn_parity.judge.core.bounds import CONFIRMING_COPIES, FACTOR
from rnn_parity.judge.core.call import run
from rnn_parity.judge.core.candidate import DTYPES, Implementation, implementation_from
from rnn_parity.judge.core.case import Case
from rnn_parity.judge.core.guard import Misbehaviour
from rnn_parity.judge.core.strategies import STRETCHES, cases
from rnn_parity.judge.core.verdict import (
    Finding,
    Verdict,
    candidate,
    case_bounds,
    compare,
    exact_products,
    in_doubt,
    loaded_builtin,
)
from rnn_parity.reference.builtin import LAYERS

CHUNK = 250  # cases for one task of a process
STRETCHED = (None,) * 20 + STRETCHES  # a sixth of the cases are long, wide or of a large batch
BESIDE = 25  # every 25th case is judged for its second derivative, and with a NaN or infinity, too


@dataclass
class Measured:
    """What some cases gave: ratios by tensor, how many tensors were undetermined, and what was flagged."""

    cases: int = 0
    ratios: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    undetermined: int = 0
    flagged: list[str] = field(default_factory=list)

    def add(self, findings: Iterable[Finding], undetermined: int) -> None:
        """Count what was found of one layer in one case."""
        for finding in findings:
            self.ratios[family(finding.tensor)].append(FACTOR * finding.ratio)
        self.undetermined += undetermined

    def join(self, other: Measured) -> None:
        """Add what another process measured."""
        self.cases += other.cases
        self.undetermined += other.undetermined
        self.flagged += other.flagged
        for name, ratios in other.ratios.items():
            self.ratios[name] += ratios


def family(tensor: str) -> str:
    """Return what a tensor is, without its layer and direction: weight_ih_l1_reverse.grad is weight_ih.grad."""
    name, dot, rest = tensor.partition(".")
    return name.partition("_l")[0] + dot + rest


def measure(kind: str, dtype: torch.dtype, device: str, draws: int, chunk: int) -> Measured:
    """Judge every right layer of a kind on drawn cases.

    Args:
        kind: "rnn", "gru" or "lstm".
        dtype: of every tensor.
        device: "cpu" or "cuda".
        draws: number of cases.
        chunk: which cases.
    """
    torch.set_num_threads(1)
    layers = [implementation_from(group[kind], kind) for group in RIGHT.values()]
    found = Measured()

    def judged(case: Case) -> None:
        found.cases += 1
        _together(layers, case, found)
        if found.cases % BESIDE == 0:
            _each(layers, case, found, second_order if case.cotangents else judge)
            plant = PLANTS[found.cases // BESIDE % len(PLANTS)]
            _each(layers, planted(plant)(case), found, judge)

    generate = settings(
        max_examples=draws,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    strategy = cases(implementation_from(LAYERS[kind], kind), dtype, device, stretched=STRETCHED)
    seed(chunk)(generate(given(strategy)(judged)))()
    return found


def _together(layers: list[Implementation], case: Case, found: Measured) -> None:
    """Hold all layers to one run of the oracle, by the rule of `verdict.judge`."""
    limits = case_bounds(case)
    undetermined = sum(not bound.determined for bound in limits.values())
    for layer in layers:
        try:
            with exact_products():
                results = run(layer, candidate(layer, loaded_builtin(case), case), case)
        except Misbehaviour as error:
            found.flagged.append(f"{layer.name}: {error}: {case.describe()}")
            continue
        findings = compare(limits, results)
        if in_doubt(findings, case):
            findings = compare(case_bounds(case, CONFIRMING_COPIES), results)
        found.add(findings, undetermined)
        if findings and findings[0].ratio > 1:
            found.flagged.append(f"{layer.name}: {findings[0].describe()}: {case.describe()}")


def _each(
    layers: list[Implementation], case: Case, found: Measured, check: Callable[[Implementation, Case], Verdict]
) -> None:
    for layer in layers:
        verdict = check(layer, case)
        if check is second_order:
            found.add(verdict.findings, len(verdict.undetermined))
        if not verdict.ok:
            found.flagged.append(verdict.message())


def tasks(draws: int, device: str) -> Iterator[tuple[str, torch.dtype, str, int, int]]:
    """Return the arguments of `measure` that make up so many cases for each kind and dtype."""
    for chunk, first in enumerate(range(0, draws, CHUNK)):
        for kind in LAYERS:
            for dtype in DTYPES.values():
                yield kind, dtype, device, min(CHUNK, draws - first), chunk


def _measure(task: tuple[str, torch.dtype, str, int, int]) -> tuple[str, str, Measured]:
    kind, dtype, *_ = task
    return kind, str(dtype).removeprefix("torch."), measure(*task)


def rows(measured: dict[tuple[str, str], Measured]) -> Iterator[dict[str, Any]]:
    """Return a row for each dtype and tensor over all kinds, and one for each dtype over all tensors."""
    for dtype in DTYPES:
        of_dtype = Measured()
        for (_, name), part in measured.items():
            if name == dtype:
                of_dtype.join(part)
        everything = [ratio for ratios in of_dtype.ratios.values() for ratio in ratios]
        for tensor, ratios in {"all": everything, **of_dtype.ratios}.items():
            values = np.asarray(ratios)
            yield {
                "dtype": dtype,
                "tensor": tensor,
                "tensors": len(values),
                "median": float(np.median(values)),
                "p99": float(np.percentile(values, 99)),
                "max": float(values.max()),
                **(_totals(of_dtype, len(values)) if tensor == "all" else {}),
            }


def _totals(of_dtype: Measured, judged: int) -> dict[str, Any]:
    return {
        "cases": of_dtype.cases,
        "verdicts": of_dtype.cases * len(RIGHT),
        "undetermined": of_dtype.undetermined / (of_dtype.undetermined + judged),
        "flagged": len(of_dtype.flagged),
    }


def table(found: list[dict[str, Any]]) -> list[str]:
    """Return the rows as two Markdown tables: the dtypes, then every tensor with its dtypes side by side."""
    lines = ["| dtype | cases | verdicts | tensors | median | p99 | max | undetermined | flagged |", "| --- " * 9 + "|"]
    for row in found:
        if row["tensor"] == "all":
            lines.append(
                f"| {row['dtype']} | {row['cases']:,} | {row['verdicts']:,} | {row['tensors']:,} "
                f"| {_figures(row, ' | ')} | {row['undetermined']:.2%} | {row['flagged']} |"
            )
    of = {(row["tensor"], row["dtype"]): row for row in found}
    lines += ["", f"| tensor: median, p99, max | {' | '.join(DTYPES)} |", "| --- " * 5 + "|"]
    for tensor in dict.fromkeys(row["tensor"] for row in found if row["tensor"] != "all"):
        cells = [_figures(of[tensor, dtype], ", ") if (tensor, dtype) in of else "" for dtype in DTYPES]
        lines.append(f"| {tensor} | {' | '.join(cells)} |")
    return lines


def _figures(row: dict[str, Any], between: str) -> str:
    return between.join(f"{row[name]:.2f}" for name in ("median", "p99", "max"))


def main() -> int:
    """Measure, print the tables and write the figures as JSON; 1 where something right was flagged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verdicts", type=int, default=500, help="verdicts for each kind and dtype")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    measured: dict[tuple[str, str], Measured] = defaultdict(Measured)
    todo, start = list(tasks(-(-arguments.verdicts // len(RIGHT)), arguments.device)), time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
        parts = tqdm(pool.imap_unordered(_measure, todo), total=len(todo), unit="chunk", disable=None)
        with contextlib.suppress(KeyboardInterrupt):
            for kind, dtype, part in parts:
                measured[kind, dtype].join(part)
                for said in part.flagged:
                    print(f"flagged: {said}", flush=True)
    found = list(rows(measured))
    print("\n".join(table(found)))
    if arguments.json:
        header = {
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "device": arguments.device,
            "layers": list(RIGHT),
            "factor": FACTOR,
            "seconds": round(time.perf_counter() - start),
            "cases": {f"{kind} {dtype}": part.cases for (kind, dtype), part in measured.items()},
        }
        arguments.json.write_text(json.dumps(header | {"rows": found}, indent=2) + "\n")
    return int(any(part.flagged for part in measured.values()))


if __name__ == "__main__":
    sys.exit(main())
