"""What does not vary, compared: counts of base and head, and what has been accepted."""

from __future__ import annotations

import json
import platform
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rnn_parity.bench.gate.plan import Plan
from rnn_parity.bench.gate.sides import Side, last_line
from rnn_parity.bench.gate.workplace import GateError, Workplace, environment
from rnn_parity.judge.page.verdicts import write_whole

VERSION = 1  # of the file of accepted counts
INSTRUCTIONS = "instructions"
SAME_INSTRUCTIONS = 0.01  # two runs of the same code were 0.2 % apart

Counts = dict[str, Any]  # by name; operators are calls by operator
Cells = dict[str, Counts]  # by "AGGREGATE SHAPE"


class Change(NamedTuple):
    """A count that differs.

    Args:
        cell: the aggregate and its shape.
        what: which count, in words.
        base: at base.
        head: at head.
        accepted: whether head's is the one that has been committed.
    """

    cell: str
    what: str
    base: int
    head: int
    accepted: bool

    def __str__(self) -> str:
        noted = ", accepted" if self.accepted else ""
        return f"{self.cell}: {self.what} {self.base:,} -> {self.head:,}{noted}"


def counts_of(place: Workplace, side: Side, plan: Plan) -> dict[str, Any]:
    """Count in a process of one side.

    Returns:
        By layer: counts by step and shape, or one line that says why there are none.

    Raises:
        GateError: the process failed.
    """
    plan_file, counts_file = place.folder / f"{side.name}-plan.json", place.folder / f"{side.name}-counts.json"
    plan.write(plan_file)
    command = [sys.executable, "-m", "rnn_parity.bench.gate.counts", str(plan_file), str(counts_file)]
    ended = place.run(command, {**environment(side.paths, plan.threads), "KINETO_LOG_LEVEL": "99"})
    if ended.returncode:
        raise GateError(f"{side} could not be counted: {last_line(ended.stdout)}")
    found: dict[str, Any] = json.loads(counts_file.read_text())
    return found


def cells_of(counts: Mapping[str, Any]) -> Cells:
    """Return counts by aggregate and shape."""
    return {
        f"{layer} {step} {shape}": count
        for layer, steps in counts.items()
        for step, shapes in steps.items()
        for shape, count in shapes.items()
    }


def totals_of(counts: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Return counts by aggregate, added up over the shapes; of the bytes, which are there in turn, the most."""
    found: dict[str, dict[str, int]] = {}
    for layer, steps in counts.items():
        for step, shapes in steps.items():
            of = list(shapes.values())
            found[f"{layer} {step}"] = {
                "operator_calls": sum(sum(count["operators"].values()) for count in of),
                "multiply_adds": sum(count["multiply_adds"] for count in of),
                "peak_bytes": max(count["peak_bytes"] for count in of),
                "saved_bytes": max(count["saved_bytes"] for count in of),
            }
    return found


def add_instructions(place: Workplace, sides: Sequence[Side], plan: Plan, cells: Sequence[Cells]) -> None:
    """Count the instructions of each aggregate in the smallest shape too, where valgrind is installed.

    Args:
        place: where processes run.
        sides: base and head, or one of them.
        plan: what is counted.
        cells: of each side; the counts are added to them.
    """
    if shutil.which("valgrind") is None:
        return
    counts = place.each(lambda side: _instructions(place, side, plan), sides)  # not timed, so all sides at once
    for of_side, found in zip(cells, counts, strict=True):
        for cell, count in found.items():
            of_side[cell][INSTRUCTIONS] = count


def _instructions(place: Workplace, side: Side, plan: Plan) -> dict[str, int]:
    folder = place.folder / f"{side.name}-callgrind"
    folder.mkdir()
    plan.write(folder / "plan.json")
    valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder / 'out'}", "--collect-atstart=no"]
    counts = [sys.executable, "-m", "rnn_parity.bench.gate.counts", str(folder / "plan.json"), "--instructions"]
    # Valgrind has no AVX-512. What compiles itself does so before, and not in it, which would take minutes.
    processor = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""} if platform.machine() == "x86_64" else {}
    around = {**environment(side.paths, 1), "PYTHONHASHSEED": "0", **processor}
    place.run(counts, around)
    ended = place.run([*valgrind, *counts], around)
    dumps = sorted(folder.glob("out.*"), key=lambda dump: int(dump.suffix[1:]))
    totals = [re.search(r"^(?:totals|summary): (\d+)", dump.read_text(), re.MULTILINE) for dump in dumps]
    if ended.returncode or len(totals) != len(plan.aggregates) or None in totals:
        raise GateError(f"{side} did not run under valgrind: {last_line(ended.stdout)}")
    shape = plan.shapes[0][0]
    return {
        f"{aggregate} {shape}": int(total[1])
        for aggregate, total in zip(plan.aggregates, totals, strict=True)
        if total is not None
    }


def changes(base: Cells, head: Cells, accepted: Cells) -> list[Change]:
    """Compare every cell that both have."""
    return [
        change
        for cell in head
        if cell in base
        for change in _changes(cell, base[cell], head[cell], accepted.get(cell, {}))
    ]


def _changes(cell: str, base: Counts, head: Counts, accepted: Counts) -> list[Change]:
    found = []
    for name in head:
        if name not in base or _same(name, base[name], head[name]):
            continue
        taken = name in accepted and _same(name, accepted[name], head[name])
        if name == "operators":
            found.append(_operators(cell, base[name], head[name], taken))
        else:
            found.append(Change(cell, name.replace("_", " "), base[name], head[name], taken))
    return found


def _same(name: str, one: Any, other: Any) -> bool:
    if name == INSTRUCTIONS:
        return bool(abs(other - one) <= SAME_INSTRUCTIONS * one)
    return bool(one == other)


def _operators(cell: str, base: Mapping[str, int], head: Mapping[str, int], accepted: bool) -> Change:
    """Name the operators that are called more or less often."""
    named = [
        f"{name} {base.get(name, 0)} -> {head.get(name, 0)}"
        for name in sorted({*base, *head})
        if base.get(name, 0) != head.get(name, 0)
    ]
    what = f"operator calls ({', '.join(named)})"
    return Change(cell, what, sum(base.values()), sum(head.values()), accepted)


def read_accepted(path: Path) -> Cells:
    """Read the counts that are accepted; none where there is no such file.

    Raises:
        GateError: it is something else, or of a newer version.
    """
    try:
        found = json.loads(path.read_text())
        version, cells = found["version"], found["counts"]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GateError(f"expected {path} to hold accepted counts, as --write-counts writes them") from error
    if version != VERSION:
        raise GateError(f"expected {path} to be of version {VERSION}, got {version!r}")
    accepted: Cells = cells
    return accepted


def write_accepted(path: Path, cells: Cells) -> None:
    """Write counts, a line for each cell, whole or not at all."""
    lines = ",\n".join(f"  {json.dumps(cell)}: {json.dumps(counts)}" for cell, counts in cells.items())
    write_whole(path, f'{{"version": {VERSION}, "counts": {{\n{lines}\n}}}}\n')
