"""What a gate found: the answer, the lines that say it, and the record that keeps it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from scipy.stats import quantile_test

from rnn_parity.bench.gate.compare import Comparison, Timing
from rnn_parity.bench.gate.exact import Change
from rnn_parity.bench.gate.rule import LOOKS, Answer, Finding
from rnn_parity.bench.history import Record

VERSION = 1  # of the record


@dataclass
class Outcome:
    """What a gate found.

    Args:
        base: the commit that is compared with.
        head: the commit, or the working tree.
        tolerance: the slowdown that is let pass.
        notes: what was not compared, and why.
        changes: counts that differ.
        lost: what passed at base and is wrong at head.
        timing: None where the rest was enough.
        counts: of head, totals over the shapes by aggregate.
        seconds: how long it took.
    """

    base: str
    head: str
    tolerance: float
    notes: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    timing: Timing | None = None
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    seconds: float = 0.0

    def dearer(self) -> list[Change]:
        """Return the counts that have grown without being accepted."""
        return [change for change in self.changes if change.head > change.base and not change.accepted]

    def answer(self) -> Answer:
        """Return the answer for all of it."""
        if self.lost or self.dearer():
            return Answer.REGRESSION
        return self.timing.answer() if self.timing else Answer.FINE

    def lines(self) -> list[str]:
        """Return what is printed, the answer last."""
        counts = [f"count: {change}" for change in self.changes]
        return [*self.notes, *self.lost, *counts, *(_timing_lines(self.timing) if self.timing else []), self._summary()]

    def _summary(self) -> str:
        return f"{self.answer().upper()}: {self._reason()} ({self.base} to {self.head}, {self.seconds:.0f} s)"

    def _reason(self) -> str:
        if self.lost or self.dearer():
            named = [*self.lost, *(str(change) for change in self.dearer())]
            return "; ".join(named[:3]) + (f"; and {len(named) - 3} more" if len(named) > 3 else "")
        if self.timing is None:
            return "nothing was timed, the rest is as it was"
        if self.timing.noisy():
            return f"too noisy: base against base differs by {self._noise()}, so there is no verdict"
        findings = self.timing.findings()
        if not findings:
            return f"the time was up after {len(self.timing.first.blocks)} of {LOOKS[0]} blocks: allow more --minutes"
        named = [name for name, finding in findings.items() if finding.answer == self.answer()]
        if self.answer() == Answer.FINE:
            return f"none of {len(findings)} is slower by {self.tolerance:.0%} or more"
        return "; ".join(f"{name} {_slowdown(findings[name])}" for name in named)

    def _noise(self) -> str:
        assert self.timing is not None
        comparison = self.timing.second if self.timing.second and self.timing.second.noisy() else self.timing.first
        names = comparison.noisy()
        low, high = (
            min(comparison.control[name][0].low for name in names),
            max(comparison.control[name][0].high for name in names),
        )
        return f"{low:+.1%} to {high:+.1%} in {', '.join(names)}"

    def record(self) -> dict[str, Any]:
        """Return it as JSON takes it, with every process that was timed."""
        timing = self.timing
        return {
            "version": VERSION,
            **{name: getattr(self, name) for name in ("base", "head", "tolerance", "notes", "lost", "seconds")},
            "answer": self.answer(),
            "reason": self._reason(),
            "changes": [change._asdict() for change in self.changes],
            "timing": timing and {"first": _record(timing.first), "second": timing.second and _record(timing.second)},
        }

    def history(self, commit: str, fingerprint: dict[str, Any]) -> list[Record]:
        """Return what is worth keeping of head: nothing where it was not timed."""
        blocks = self.timing.first.blocks if self.timing else ()
        date = datetime.now(UTC).isoformat(timespec="seconds")
        return [
            Record(
                commit,
                date,
                name,
                *_ratio([head[name] for block in blocks for head in block.of("B")]),
                counts,
                fingerprint,
            )
            for name, counts in self.counts.items()
            if blocks
        ]


def _ratio(logs: Sequence[float]) -> tuple[float, float, float, int]:
    interval = quantile_test(logs, p=0.5).confidence_interval(0.95)
    middle, low, high = (math.exp(log) for log in (np.median(logs), interval.low, interval.high))
    return middle, low, high, len(logs)


def _record(comparison: Comparison) -> dict[str, Any]:
    return {
        "findings": {name: asdict(finding) for name, finding in comparison.findings.items()},
        "control": {name: asdict(finding) for name, (finding, _) in comparison.control.items()},
        "blocks": [block._asdict() for block in comparison.blocks],
    }


def _timing_lines(timing: Timing) -> list[str]:
    lines = []
    for comparison, title in ((timing.first, "head / base, less 1"), (timing.second, "measured again")):
        if comparison is not None and comparison.findings:
            width = max(map(len, comparison.findings))
            lines.append(f"{title}, of {2 * len(comparison.blocks)} pairs of processes; 95 % interval; base / base")
            for name, finding in comparison.findings.items():
                steady, _ = comparison.control[name]
                lines.append(f"  {name:{width}}  {_slowdown(finding):26}  {steady.slowdown:+6.1%}  {finding.answer}")
    return lines


def _slowdown(finding: Finding) -> str:
    return f"{finding.slowdown:+.1%} ({finding.low:+.1%} to {finding.high:+.1%})"
