"""What is said at the end: a line per subject, and the verdicts as JSON."""

from __future__ import annotations

import platform
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import torch

from ...reference.spec import KINDS
from ..core.bounds import COPIES, FACTOR, longdouble_is_wider
from ..core.candidate import DTYPES
from ..core.results import ERROR, FAILED, PASSED, UNSUPPORTED, WORDS, result_of
from ..page.said import command_line
from ..page.verdicts import SUBJECT, VERSION, added_up, of_record
from ..trials.table import ASPECTS
from .stash import REPORT
from .subjects import INTERFACE, missing_devices

NOTED = 50_000  # bytes printed

Record = dict[str, Any]


def report_of(config: pytest.Config) -> Report:
    """Return the report of a session."""
    if REPORT not in config.stash:
        not_judged = {} if config.option.parity_device else missing_devices()
        # A worker of pytest-xdist says none of it, and is to start no device for it.
        said = {} if hasattr(config, "workerinput") else header(config.option.parity_seed) | {"not_judged": not_judged}
        config.stash[REPORT] = Report(said)
    report: Report = config.stash[REPORT]
    return report


def header(seed: int) -> dict[str, Any]:
    """Return what a verdict depends on beside the layer: versions, machine, precision of the oracle."""
    return {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "tf32": False,
        "longdouble_digits": int(np.finfo(np.longdouble).nmant) + 1,
        "longdouble_is_wider": longdouble_is_wider(),
        "factor": FACTOR,
        "copies": COPIES,
        "seed": seed,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(),
    }


@dataclass
class Report:
    """The records of one pytest run.

    Args:
        header: what all verdicts depend on.
        records: by test.
    """

    header: dict[str, Any]
    records: dict[str, Record] = field(default_factory=dict)

    def add(self, nodeid: str, record: Record) -> None:
        """Add a test's record; a test that is run again replaces its own."""
        self.records[nodeid] = record

    def nothing_judged(self) -> bool:
        """Whether no test of the run judged anything."""
        return all(record["result"] == UNSUPPORTED for record in self.records.values())

    def verdicts(self) -> list[dict[str, Any]]:
        """Return one verdict per implementation, kind, device and dtype, the most precise dtype first."""
        return added_up(of_record(record) for record in sorted(self.records.values(), key=_in_order))

    def lines(self) -> list[str]:
        """Return the terminal summary: a table, then what it leaves open."""
        verdicts, h = self.verdicts(), self.header
        oracle = (
            f"longdouble ({h['longdouble_digits']} bits) for float64, float64 for the others"
            if h["longdouble_is_wider"]
            else "float64 for all dtypes: longdouble is no wider here, so float64 is judged at its own precision"
        )
        lines = [
            f"torch {h['torch']}, {h['threads']} threads, CUDA {h['cuda'] or 'not available'}, TF32 off",
            f"oracle in {oracle}; F = {h['factor']:g}, K = {h['copies']}, seed {h['seed']}",
            *_aligned([(*SUBJECT, "cases", "worst error/bound", "undetermined", "verdict"), *map(_row, verdicts)]),
            *_aligned(_aspect_rows(verdicts)),
            *(f"{device}: not judged, {reason}" for device, reason in h["not_judged"].items()),
        ]
        lines += [
            f"{v['implementation']} on {v['device']} in {v['dtype']}: refused {v['refused']} cases, as torch.nn does"
            for v in verdicts
            if v["refused"]
        ]
        lines += [*_notes(verdicts), *_causes(verdicts)]
        refusals = sum((Counter(verdict["builtin_refusals"]) for verdict in verdicts), Counter[str]())
        lines += [
            f"torch.nn itself refuses {count} cases, judged without it: {said}" for said, count in refusals.items()
        ]
        faults = sum(verdict["builtin_faults"] for verdict in verdicts)
        if faults:
            lines.append(f"torch.nn itself is over its bound in {faults} cases; see builtin_faults in --parity-json")
        if self.nothing_judged():
            lines.append("ERROR: expected at least one test that judges something, got only skipped ones")
        return [line.rstrip() for line in lines]

    def document(self) -> dict[str, Any]:
        """Return what `--parity-json` writes."""
        return {"version": VERSION, "header": self.header, "verdicts": self.verdicts()}


def _in_order(record: Record) -> tuple[Any, ...]:
    implementation, kind, device, dtype = (record[key] for key in SUBJECT)
    aspect = (*ASPECTS, INTERFACE).index(record["aspect"])
    return device, KINDS.index(kind), implementation, list(DTYPES).index(dtype), aspect


def first_line(message: str | None) -> str:
    """Return what a message says before its details."""
    return (message or "").partition("\n")[0]


def _causes(verdicts: list[dict[str, Any]]) -> list[str]:
    """Return a line for each cause that several trials failed of."""
    causes: dict[str, list[str]] = defaultdict(list)
    for verdict in verdicts:
        for failure in (*verdict["failures"], *verdict["errors"]):
            causes[first_line(failure["message"])].append(failure["aspect"])
    return [
        f"{len(aspects)} tests alike, in {', '.join(dict.fromkeys(aspects))}: {said}"
        for said, aspects in causes.items()
        if len(aspects) > 1
    ]


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _aspect_rows(verdicts: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return which aspects hold: a row for each implementation and device, over all trials and dtypes."""
    aspects = [aspect for aspect in (*ASPECTS, INTERFACE) if any(aspect in verdict["trials"] for verdict in verdicts)]
    groups: dict[tuple[str, ...], dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for verdict in verdicts:
        for aspect, counts in verdict["trials"].items():
            groups[tuple(verdict[key] for key in SUBJECT[:3])][aspect] += counts
    rows = [(*key, *(_held(trials[aspect]) for aspect in aspects)) for key, trials in groups.items()]
    return [("aspects of", "", "", *(aspect.replace("_", " ") for aspect in aspects)), *rows]


def _held(counts: Counter[str]) -> str:
    """Return what several trials of an aspect came to, and of how many that is true, where it is not of all."""
    if not counts:
        return "-"
    result = result_of(counts)
    of = "" if counts[result] == counts.total() else f" {counts[result]} of {counts.total()}"
    return WORDS[result] + of


def _notes(verdicts: list[dict[str, Any]]) -> list[str]:
    """Return what each implementation did to its process, where the judge came to none, and how much was printed."""
    said, printed = dict[str, None](), Counter[str]()
    for verdict in verdicts:
        said |= {f"{verdict['implementation']}: {fault}": None for fault in verdict["faults"]}
        said |= {f"ERROR: {first_line(error['message'])}": None for error in verdict["errors"]}
        printed[verdict["implementation"]] += verdict["printed"]
    return [
        *said,
        *(f"{name}: printed {size / 1e6:.1f} MB, not shown" for name, size in printed.items() if size >= NOTED),
    ]


def _row(verdict: dict[str, Any]) -> tuple[str, ...]:
    worst, result = verdict["worst"], verdict["verdict"]
    of_result = ", ".join(aspect for aspect, of in verdict["aspects"].items() if of == result)
    said = WORDS[result] if result != UNSUPPORTED else result
    if result in (FAILED, ERROR):
        said += f": {of_result}"
    elif result == PASSED and 2 * list(verdict["aspects"].values()).count(PASSED) < len(verdict["aspects"]):
        said = f"holds in {of_result} alone"  # no pass for what was hardly judged
    notes = {
        "dialect": verdict["dialect"],
        "unsupported": verdict["unsupported"],
        "not compared": verdict["left_out"],
        "in part without what fails": verdict["without"],
    }
    said += "".join(f" ({what}: {', '.join(names)})" for what, names in notes.items() if names)
    judged = verdict["tensors"] + verdict["undetermined"]
    return (
        *(verdict[key] for key in SUBJECT),
        f"{verdict['cases']:,}",
        f"{worst['ratio']:.3g} ({worst['tensor']})" if worst else "-",
        f"{verdict['undetermined']:,} of {judged:,}" if judged else "-",
        said,
    )
