"""Measures the factor of the tolerance: error over (spread + u * max|truth|) of layers that are right.

    python -m rnn_parity.bench.calibrate --cases 500 --device cpu --json FILE

prints a line for each dtype: how far the built-ins, the manual layers and a right layer in another style land. The
factor F of `judge/tolerance.py` stands well above the largest ratio here and far below what any fault gives.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings

from rnn_parity.judge.cases import Case, cases
from rnn_parity.judge.implementation import DTYPES, Implementation, implementation_from
from rnn_parity.judge.tolerance import FACTOR
from rnn_parity.judge.verdict import judge
from rnn_parity.reference.builtin import LAYERS
from rnn_parity.tests.meta.plain import PLAIN

MANUAL = {kind: f"rnn_parity.manual:{kind.upper()}" for kind in LAYERS}


def right_layers() -> Iterator[Implementation]:
    """Return every layer that is known to be right."""
    for group in (LAYERS, MANUAL, PLAIN):
        for kind, layer in group.items():
            yield implementation_from(layer, kind)


def ratios(implementation: Implementation, dtype: torch.dtype, device: str, draws: int) -> tuple[list[float], int, int]:
    """Judge drawn cases and return error over (spread + u * max|truth|) of every tensor.

    Args:
        implementation: a right layer.
        dtype: of every tensor.
        device: "cpu" or "cuda".
        draws: number of cases.

    Returns:
        The ratios, how many tensors were undetermined, and how many cases were flagged.
    """
    found: list[float] = []
    undetermined = flagged = 0

    def measure(case: Case) -> None:
        nonlocal undetermined, flagged
        verdict = judge(implementation, case)
        found.extend(FACTOR * finding.ratio for finding in verdict.findings)
        undetermined += len(verdict.undetermined)
        flagged += not verdict.ok

    generate = settings(
        max_examples=draws,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    seed(0)(generate(given(cases(implementation, dtype, device))(measure)))()
    return found, undetermined, flagged


def main() -> None:
    """Measure, print a Markdown table and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=500, help="for each implementation, kind and dtype")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    print("| dtype | cases | tensors | median | p99 | max | undetermined | flagged |\n" + "| --- " * 8 + "|")
    for name, dtype in DTYPES.items():
        measured = [ratios(layer, dtype, arguments.device, arguments.cases) for layer in right_layers()]
        values = np.concatenate([found for found, _, _ in measured])
        undetermined = sum(m[1] for m in measured)
        flagged = sum(m[2] for m in measured)
        row = {
            "dtype": name,
            "cases": arguments.cases * len(measured),
            "tensors": len(values),
            "median": float(np.median(values)),
            "p99": float(np.percentile(values, 99)),
            "max": float(values.max()),
            "undetermined": undetermined / (undetermined + len(values)),
            "flagged": flagged,
        }
        rows.append(row)
        print(
            f"| {name} | {row['cases']:,} | {row['tensors']:,} | {row['median']:.2f} | {row['p99']:.2f} "
            f"| {row['max']:.1f} | {row['undetermined']:.2%} | {flagged} |",
            flush=True,
        )
    if arguments.json:
        header = {"torch": torch.__version__, "device": arguments.device, "factor": FACTOR}
        arguments.json.write_text(json.dumps(header | {"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
