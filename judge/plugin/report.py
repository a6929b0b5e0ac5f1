"""What is said at the end: a line per subject, and the verdicts as JSON."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...reference.spec import KINDS

RECORD = "parity"  # name of the user property that carries a test's record

# The worst of several outcomes stands for all of them.
OUTCOMES = ("skipped", "unsupported", "passed", "failed")

DTYPE_ORDER = ("float64", "float32", "bfloat16", "float16")

Record = dict[str, Any]


@dataclass
class Report:
    """The records of one pytest run."""

    header: dict[str, Any] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)

    def add(self, nodeid: str, record: Record) -> None:
        """Add a test's record; a test that is run again replaces its own."""
        self.records[nodeid] = record

    def header_lines(self) -> list[str]:
        """Return what a verdict depends on, for the terminal."""
        h = self.header
        if not h:
            return []
        oracle = (
            f"longdouble ({h['longdouble_digits']} bits) for float64, float64 for the others"
            if h["longdouble_is_wider"]
            else "float64 for all dtypes: longdouble is no wider here, so float64 is judged at its own precision"
        )
        return [
            f"torch {h['torch']}, {h['threads']} threads, CUDA {h['cuda'] or 'not available'}, TF32 off",
            f"oracle in {oracle}; F = {h['factor']:g}, K = {h['copies']}, seed {h['seed']}",
        ]

    def nothing_judged(self) -> bool:
        """Whether no test of the run judged anything."""
        return all(record["outcome"] in ("skipped", "unsupported") for record in self.records.values())

    def verdicts(self) -> list[dict[str, Any]]:
        """Return one verdict per implementation, kind, device and dtype, the most precise dtype first."""
        groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
        for record in self.records.values():
            groups[tuple(record[key] for key in ("implementation", "kind", "device", "dtype"))].append(record)
        return [_verdict(groups[key]) for key in sorted(groups, key=_in_order)]

    def lines(self) -> list[str]:
        """Return the terminal summary: a table, then what it leaves open."""
        verdicts = self.verdicts()
        head = (
            "implementation",
            "kind",
            "device",
            "dtype",
            "cases",
            "worst error/bound",
            "undetermined",
            "verdict",
        )
        judged = [verdict for verdict in verdicts if verdict["verdict"] != "skipped"]
        lines = [*_aligned([head, *map(_row, judged)]), *_aligned(_aspect_rows(judged))]
        lines += sorted(
            f"{verdict['device']}: skipped, {'; '.join(verdict['reasons'])}"
            for verdict in {v["device"]: v for v in verdicts if v["verdict"] == "skipped"}.values()
        )
        lines += [
            f"{v['implementation']} on {v['device']} in {v['dtype']}: refused {v['refused']} cases, as torch.nn does"
            for v in judged
            if v["refused"]
        ]
        lines += _notes(verdicts)
        faults = sum(verdict["builtin_faults"] for verdict in verdicts)
        if faults:
            lines.append(f"torch.nn itself is over its bound in {faults} cases; see builtin_faults in --parity-json")
        if self.nothing_judged():
            lines.append("ERROR: expected at least one test that judges something, got only skipped ones")
        return [line.rstrip() for line in lines]

    def write(self, path: Path) -> None:
        """Write header and verdicts as JSON, whole or not at all."""
        partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        partial.write_text(json.dumps({"header": self.header, "verdicts": self.verdicts()}, indent=2) + "\n")
        os.replace(partial, path)


def _in_order(key: tuple[str, ...]) -> tuple[Any, ...]:
    implementation, kind, device, dtype = key
    return device, KINDS.index(kind), implementation, DTYPE_ORDER.index(dtype)


def _verdict(records: list[Record]) -> dict[str, Any]:
    aspects: dict[str, str] = {}
    for record in records:
        before = aspects.get(record["aspect"], "skipped")
        aspects[record["aspect"]] = max(before, record["outcome"], key=OUTCOMES.index)
    worst = max((r["worst"] for r in records if r.get("worst")), key=lambda w: w["ratio"], default=None)
    first = records[0]
    return {
        **{key: first[key] for key in ("implementation", "kind", "device", "dtype")},
        "verdict": max(aspects.values(), key=OUTCOMES.index),
        "aspects": aspects,
        **{key: sum(r.get(key, 0) for r in records) for key in COUNTS},
        "worst": worst,
        "reasons": sorted({r["reason"] for r in records if r.get("reason")}),
        "faults": sorted({r["fault"] for r in records if r.get("fault")}),
        "unsupported": sorted({feature for r in records for feature in r.get("unsupported", ())}),
        "failures": [
            {key: r.get(key) for key in ("aspect", "trial", "message", "reproducer")}
            for r in records
            if r["outcome"] == "failed"
        ],
    }


COUNTS = ("cases", "tensors", "undetermined", "builtin_faults", "refused", "seconds", "printed")

NOTED = 50_000  # bytes printed


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _aspect_rows(verdicts: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return which aspects hold: a row for each implementation and device, over all dtypes."""
    aspects = dict.fromkeys(aspect for verdict in verdicts for aspect in verdict["aspects"])
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for verdict in verdicts:
        groups[verdict["implementation"], verdict["kind"], verdict["device"]].append(verdict["aspects"])
    rows = [
        (*key, *(_held([of[aspect] for of in group if aspect in of]) for aspect in aspects))
        for key, group in groups.items()
    ]
    return [("aspects of", "", "", *(aspect.replace("_", " ") for aspect in aspects)), *rows] if rows else []


def _held(outcomes: list[str]) -> str:
    """Return one word for an aspect's outcomes in several dtypes."""
    failed = outcomes.count("failed")
    if failed:
        return "FAIL" if failed == len(outcomes) else f"FAIL {failed} of {len(outcomes)}"
    return {"passed": "pass", "unsupported": "unsupp."}.get(max(outcomes, key=OUTCOMES.index, default=""), "-")


def _notes(verdicts: list[dict[str, Any]]) -> list[str]:
    """Return what each implementation did to its process, and how much it printed."""
    faults, printed = dict[str, None](), defaultdict[str, int](int)
    for verdict in verdicts:
        faults |= {f"{verdict['implementation']}: {fault}": None for fault in verdict["faults"]}
        printed[verdict["implementation"]] += verdict["printed"]
    return [
        *faults,
        *(f"{name}: printed {size / 1e6:.1f} MB, not shown" for name, size in printed.items() if size >= NOTED),
    ]


def _row(verdict: dict[str, Any]) -> tuple[str, ...]:
    worst = verdict["worst"]
    failed = [aspect for aspect, outcome in verdict["aspects"].items() if outcome == "failed"]
    said = {"passed": "pass", "failed": f"FAIL: {', '.join(failed)}"}.get(verdict["verdict"], verdict["verdict"])
    if verdict["unsupported"]:
        said += f" (unsupported: {', '.join(verdict['unsupported'])})"
    judged = verdict["tensors"] + verdict["undetermined"]
    return (
        *(verdict[key] for key in ("implementation", "kind", "device", "dtype")),
        f"{verdict['cases']:,}",
        f"{worst['ratio']:.3g} ({worst['tensor']})" if worst else "-",
        f"{verdict['undetermined']:,} of {judged:,}" if judged else "-",
        said,
    )
