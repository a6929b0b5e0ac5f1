"""The score as a table to read and as JSON, each of them whole or not there."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from rnn_parity.tasks.report import write_atomically

COLUMNS = ("defect", "layer", "report", "caught", "by", "cases", "seconds", "reproducer's lines", "seeds")


@dataclass(frozen=True)
class Hunt:
    """What became of one defect in one layer with one seed.

    Args:
        defect: its name.
        variant: the layer it is planted in.
        seed: of the cases.
        trial: which caught it, None where none did.
        cases: judged until then.
        seconds: of the processor, which a busy machine does not stretch, until the verdict; its shrinking among them.
        lines: of the reproducer.
        fault: one line on what went wrong with the hunt itself: a reproducer that passes, an exception.
    """

    defect: str
    variant: str
    seed: int
    trial: str | None = None
    cases: int = 0
    seconds: float = 0.0
    lines: int = 0
    fault: str | None = None

    @property
    def caught(self) -> bool:
        """Whether there is a verdict against the layer that its reproducer bears out."""
        return self.trial is not None and self.fault is None


def write_score(folder: Path, hunts: Sequence[Hunt], reports: Mapping[str, str]) -> str:
    """Write score.md and score.json.

    Args:
        folder: made where it is missing.
        hunts: in the order of defects, layers and seeds.
        reports: of each defect, by its name.

    Returns:
        The summary, in a few lines.
    """
    rows = [_row(list(group), reports) for _, group in groupby(hunts, key=lambda h: (h.defect, h.variant))]
    totals = _totals(hunts, rows)
    summary = "\n".join(f"{name}: {value}" for name, value in (_machine() | totals).items())
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    lines += [f"| {' | '.join(str(row[column]) for column in COLUMNS)} |" for row in rows]
    heading = "# The judge's score on the catalogue of defects"
    note = "Cases, seconds and lines are the most of any seed; seconds are the processor's, and hold the shrinking too."
    listed = "\n".join(f"- {line}" for line in summary.splitlines())
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "score.md", "\n\n".join([heading, listed, note, "\n".join(lines) + "\n"]).encode())
    record = {"machine": _machine(), "totals": totals, "pairs": rows, "hunts": [asdict(hunt) for hunt in hunts]}
    write_atomically(folder / "score.json", (json.dumps(record, indent=2) + "\n").encode())
    return summary


def _row(hunts: Sequence[Hunt], reports: Mapping[str, str]) -> dict[str, Any]:
    """Return the worst over the seeds."""
    failed = [f"seed {hunt.seed}: {hunt.fault or 'missed'}" for hunt in hunts if not hunt.caught]
    first = hunts[0]
    values = (
        first.defect,
        first.variant,
        reports[first.defect],
        f"NO ({'; '.join(failed)})" if failed else "yes",
        ", ".join(dict.fromkeys(hunt.trial for hunt in hunts if hunt.trial)),
        max(hunt.cases for hunt in hunts),
        round(max(hunt.seconds for hunt in hunts), 2),
        max(hunt.lines for hunt in hunts),
        len(hunts),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _totals(hunts: Sequence[Hunt], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    seconds = [hunt.seconds for hunt in hunts]
    return {
        "seeds": ", ".join(map(str, dict.fromkeys(hunt.seed for hunt in hunts))),
        "pairs of defect and layer": len(rows),
        "caught with every seed": sum(row["caught"] == "yes" for row in rows),
        "seconds until the verdict": f"median {statistics.median(seconds):.2f}, maximum {max(seconds):.2f}",
    }


def _machine() -> dict[str, str]:
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores",
        "versions": f"torch {torch.__version__}, Python {platform.python_version()}",
    }


def _processor() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()
