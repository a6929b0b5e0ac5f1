"""What a folder holds beside verdicts: results of benchmarks, gate, trainings and the like, told by their shape."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEPTH = 2  # folders below the report's that are looked into: TASK/IMPLEMENTATION/metrics.json
LARGEST = 20_000_000  # bytes of a file that is looked into

Found = list[dict[str, Any]]
Others = dict[str, Found]  # by what they are of: keys of `SHAPES`

# By what it is of: keys that tell such a record from others.
SHAPES = {
    "bench": ("timings", "machine", "versions"),
    "gate": ("base", "head", "answer", "timing"),
    "tasks": ("task", "implementation", "loss_per_step", "metric_per_epoch"),
    "score": ("totals", "pairs", "machine"),
    "calibration": ("factor", "rows", "layers", "cases"),
}
COMMANDS = {
    "bench": "rnn-parity bench --out FOLDER",
    "gate": "rnn-parity gate --base REV --json FOLDER/gate.json",
    "tasks": "rnn-parity tasks hello --implementation builtin manual --out FOLDER/hello",
    "score": "python -m rnn_parity.tests.meta.score --out FOLDER/score",
    "calibration": "python -m rnn_parity.bench.calibrate --seeds 1 --json FOLDER/calibration.json",
}
TITLES = {
    "bench": "Benchmarks",
    "gate": "Base and head",
    "tasks": "Tasks",
    "score": "Score",
    "calibration": "Calibration",
}


@dataclass(frozen=True)
class Figure:
    """A plot of a section.

    Args:
        title: what it shows.
        svg: the picture, as part of a page.
        note: where it was measured, and with what.
    """

    title: str
    svg: str
    note: str


@dataclass(frozen=True)
class Section:
    """A part of the page below the grid.

    Args:
        name: a key of `SHAPES`.
        figures: what there is to see.
        lines: what there is to say.
    """

    name: str
    figures: Sequence[Figure] = ()
    lines: Sequence[str] = ()

    @property
    def title(self) -> str:
        """Its heading."""
        return TITLES[self.name]

    @property
    def command(self) -> str:
        """What makes its records."""
        return COMMANDS[self.name]


def found_in(folder: Path) -> Others:
    """Return the records in a folder and a little below it."""
    found: Others = {name: [] for name in SHAPES}
    for depth in range(DEPTH + 1):
        for path in sorted(folder.glob("/".join(["*"] * depth + ["*.json"]))):
            record = _read(path)
            for name, keys in SHAPES.items():
                if isinstance(record, dict) and all(key in record for key in keys):
                    found[name].append(record)
    return found


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size < LARGEST else None
    except (OSError, ValueError):
        return None  # it is none of ours
