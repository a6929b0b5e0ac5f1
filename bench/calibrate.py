"""Measures the factor of the tolerance, and that nothing right is flagged, by every check there is.

    python -m rnn_parity.bench.calibrate --seeds 4 --json FILE

draws the cases of the command for so many seeds, and asks every trial of layers that are right and compute differently:
the built-in, the manual layer, PyTorch's decomposition of it, one with its gates in one product and one with its batch
split in two. It prints error over (spread + u * max|truth|) of every tensor that is held against the oracle, which the
factor F of `judge/core/bounds.py` is to stand well above, and for each trial how many cases were judged and flagged. A
flagged case is a false alarm: it is printed, and ends the run with status 1. Ctrl-C ends it with what was measured.
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
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from rnn_parity.bench.right import RIGHT
from rnn_parity.judge.core.bounds import FACTOR
from rnn_parity.judge.core.candidate import DTYPES, implementation_from
from rnn_parity.judge.core.case import Case
from rnn_parity.judge.core.guard import Streams
from rnn_parity.judge.core.verdict import Verdict
from rnn_parity.judge.trials.schedule import DEFAULT_EXAMPLES, blocks
from rnn_parity.judge.trials.search import ask, draw
from rnn_parity.judge.trials.table import TRIALS
from rnn_parity.judge.trials.trial import Trial
from rnn_parity.reference.builtin import LAYERS

BY_THE_ORACLE = ("equations", "given", "layers", "directions", "both")  # trials that compare tensors with the oracle's


@dataclass
class Measured:
    """What some cases gave: ratios by tensor, and for each trial cases, verdicts, flagged and the largest ratio."""

    ratios: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    undetermined: int = 0
    trials: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0, 0.0]))
    flagged: list[str] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """How many were drawn."""
        return int(sum(counts[0] for counts in self.trials.values()))

    @property
    def verdicts(self) -> int:
        """How many were given: one for each layer and case."""
        return int(sum(counts[1] for counts in self.trials.values()))

    def add(self, trial: Trial, verdict: Verdict) -> None:
        """Count a verdict on a right layer."""
        counts = self.trials[repr(trial)]
        counts[1] += 1
        counts[2] += not verdict.ok
        counts[3] = max([counts[3], *(finding.ratio for finding in verdict.findings[:1])])
        if not verdict.ok:
            self.flagged.append(verdict.broken or verdict.message())
        if trial.name in BY_THE_ORACLE:
            self.undetermined += len(verdict.undetermined)
            for finding in verdict.findings:
                self.ratios[family(finding.tensor)].append(FACTOR * finding.ratio)

    def join(self, other: Measured) -> None:
        """Add what another process measured."""
        self.undetermined += other.undetermined
        self.flagged += other.flagged
        for name, ratios in other.ratios.items():
            self.ratios[name] += ratios
        for name, (cases, verdicts, flagged, most) in other.trials.items():
            counts = self.trials[name]
            self.trials[name] = [counts[0] + cases, counts[1] + verdicts, counts[2] + flagged, max(counts[3], most)]


def family(tensor: str) -> str:
    """Return what a tensor is, without its layer and direction: weight_ih_l1_reverse.grad is weight_ih.grad."""
    name, dot, rest = tensor.partition(".")
    return name.partition("_l")[0] + dot + rest


def measure(kind: str, dtype: torch.dtype, device: str, index: int, seed: int) -> Measured:
    """Ask one trial of every right layer of a kind.

    Args:
        kind: "rnn", "gru" or "lstm".
        dtype: of every tensor.
        device: "cpu" or "cuda".
        index: of the trial in the table.
        seed: which cases.
    """
    torch.set_num_threads(1)
    trial, found = TRIALS[index], Measured()
    layers = [implementation_from(group[kind], kind) for group in RIGHT.values()]
    asked = [layer for layer in layers if trial.applies_to(layer, dtype, device)]
    asked = [layer for layer in asked if not trial.unsupported(layer, dtype, device)]
    streams = {layer.name: Streams() for layer in asked}

    def judged(case: Case) -> None:
        found.trials[repr(trial)][0] += 1
        for layer in asked:
            found.add(trial, ask(trial, layer, case, streams[layer.name]))

    if asked:
        builtin = implementation_from(LAYERS[kind], kind)
        for plan in blocks(trial, builtin, dtype, DEFAULT_EXAMPLES, seed):
            for block in plan:
                draw(judged, trial, builtin, dtype, device, block)
    # Plain dicts: those with a factory do not travel between processes.
    return Measured(dict(found.ratios), found.undetermined, dict(found.trials), found.flagged)


def tasks(seeds: int, device: str, only: str = "") -> Iterator[tuple[str, torch.dtype, str, int, int]]:
    """Return the arguments of `measure` that make up so many seeds for each kind and dtype, of trials of that name."""
    for seed in range(seeds):
        for kind in LAYERS:
            for dtype in DTYPES.values():
                for index, trial in enumerate(TRIALS):
                    if only in repr(trial):
                        yield kind, dtype, device, index, seed


def _measure(task: tuple[str, torch.dtype, str, int, int]) -> tuple[str, str, Measured]:
    kind, dtype, *_ = task
    return kind, str(dtype).removeprefix("torch."), measure(*task)


def trials(measured: dict[tuple[str, str], Measured]) -> list[dict[str, Any]]:
    """Return a row for each trial, over all kinds and dtypes."""
    whole = Measured()
    for part in measured.values():
        whole.join(part)
    names = ("cases", "verdicts", "flagged", "worst")
    return [{"trial": trial, **dict(zip(names, counts, strict=True))} for trial, counts in whole.trials.items()]


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
            if not len(values):  # only relations were asked
                continue
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
        "verdicts": of_dtype.verdicts,
        "undetermined": of_dtype.undetermined / (of_dtype.undetermined + judged),
        "flagged": len(of_dtype.flagged),
    }


def table(found: list[dict[str, Any]], of_trials: list[dict[str, Any]]) -> list[str]:
    """Return three Markdown tables: the dtypes, every tensor with its dtypes side by side, and the trials."""
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
    lines += ["", "| trial | cases | verdicts | flagged | largest error/bound |", "| --- " * 5 + "|"]
    for row in of_trials:
        counts = " | ".join(f"{row[name]:,.0f}" for name in ("cases", "verdicts", "flagged"))
        lines.append(f"| {row['trial']} | {counts} | {row['worst']:.2f} |")
    return lines


def _figures(row: dict[str, Any], between: str) -> str:
    return between.join(f"{row[name]:.2f}" for name in ("median", "p99", "max"))


def main() -> int:
    """Measure, print the tables and write the figures as JSON; 1 where something right was flagged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="how often the cases of the command are drawn")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--only", default="", metavar="NAME", help="only trials whose name holds NAME")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    measured: dict[tuple[str, str], Measured] = defaultdict(Measured)
    todo, start = list(tasks(arguments.seeds, arguments.device, arguments.only)), time.perf_counter()
    if not todo:
        parser.error(f"expected --only to be part of a trial's name, got {arguments.only!r}")
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
        parts = tqdm(pool.imap_unordered(_measure, todo), total=len(todo), unit="chunk", disable=None)
        with contextlib.suppress(KeyboardInterrupt):
            for kind, dtype, part in parts:
                measured[kind, dtype].join(part)
                for said in part.flagged:
                    print(f"flagged: {said}", flush=True)
    found, of_trials = list(rows(measured)), trials(measured)
    print("\n".join(table(found, of_trials)))
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
        arguments.json.write_text(json.dumps(header | {"rows": found, "trials": of_trials}, indent=2) + "\n")
    return int(any(part.flagged for part in measured.values()))


if __name__ == "__main__":
    sys.exit(main())
