"""What a trial is, what it counts, and what it comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Set
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from ..core.candidate import Implementation, most_precise
from ..core.case import Case
from ..core.check import Check
from ..core.results import EDGES, bin_of
from ..core.verdict import Finding, Verdict


@dataclass(frozen=True, repr=False)
class Trial:
    """One question about an implementation, asked of many cases.

    Args:
        aspect: what it belongs to.
        name: what is asked.
        check: answers it on a case.
        vary: which of `strategies.VARIATIONS` its cases draw.
        needs: keys of `candidate.FEATURES` without which there is nothing to ask.
        fixed: fields of `LayerSpec` that are not drawn.
        adapt: changes a drawn case to what the check asks for.
        share: of the usual number of examples.
        dtypes: those it can be asked in, None for all.
        precise: whether it is asked in the most precise dtype that the implementation has, and in no other.
        like_builtin: whether it is asked only of layers that draw dropout like the built-in, on the CPU.
        tiles: whether some of its cases have a size at the edge of a tile.
    """

    aspect: str
    name: str
    check: Check
    vary: Set[str]
    needs: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    adapt: Callable[[Case], Case] = lambda case: case
    share: float = 1.0
    dtypes: tuple[torch.dtype, ...] | None = None
    precise: bool = False
    like_builtin: bool = False
    tiles: bool = False

    def __repr__(self) -> str:
        return f"{self.aspect}: {self.name}"

    def applies_to(self, implementation: Implementation, dtype: torch.dtype, device: str) -> bool:
        """Whether the question makes sense there at all, supported or not."""
        alike = implementation.draws_like_builtin and not implementation.dialect
        if self.like_builtin and not (alike and device == "cpu"):
            return False
        if self.precise and dtype != most_precise(implementation):
            return False
        return self.dtypes is None or dtype in self.dtypes

    def unsupported(self, implementation: Implementation, dtype: torch.dtype, device: str) -> list[str]:
        """Return what the trial needs and the implementation declares unsupported."""
        needed = (*self.needs, str(dtype).removeprefix("torch."), torch.device(device).type)
        return [feature for feature in needed if not implementation.supports(feature)]


@dataclass
class Tally:
    """What a trial counts.

    Args:
        cases: judged.
        tensors: judged in them.
        undetermined: tensors for which the dtype carried no digits.
        ratios: how many of the tensors judged came how near to their bound, see `results.EDGES`.
        left_out: gradients that an adapter does not give.
        worst: the finding nearest to its bound, or furthest beyond it.
        builtin_faults: cases in which the built-in is wrong.
        builtin_refusals: cases in which the built-in raises, by what it says.
        refused: cases in which the candidate raised, and the built-in too.
        refusal: what it said in the last of them.
        seconds: in all.
    """

    cases: int = 0
    tensors: int = 0
    undetermined: int = 0
    ratios: list[int] = field(default_factory=lambda: [0] * (len(EDGES) + 1))
    left_out: set[str] = field(default_factory=set)
    worst: Finding | None = None
    builtin_faults: int = 0
    builtin_refusals: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    refusal: str | None = None
    seconds: float = 0.0

    def add(self, verdict: Verdict) -> None:
        """Count one verdict."""
        self.cases += 1
        self.tensors += len(verdict.findings)
        self.undetermined += len(verdict.undetermined)
        for finding in verdict.findings:
            self.ratios[bin_of(finding.ratio)] += 1
        self.left_out |= set(verdict.left_out)
        if verdict.refused is not None:
            self.refused, self.refusal = self.refused + 1, verdict.refused
        self.builtin_faults += verdict.builtin_fault is not None
        if verdict.builtin_refusal is not None:
            self.builtin_refusals[verdict.builtin_refusal] += 1
        for finding in verdict.findings[:1]:
            if self.worst is None or finding.ratio > self.worst.ratio:
                self.worst = finding

    def as_record(self) -> dict[str, Any]:
        """Return the counts for a report."""
        worst = self.worst and {
            "tensor": self.worst.tensor,
            # Python's own, for pytest-xdist sends no others.
            **{name: float(getattr(self.worst, name)) for name in ("error", "limit", "ratio")},
        }
        refusals = dict(self.builtin_refusals)
        return asdict(self) | {"worst": worst, "left_out": sorted(self.left_out), "builtin_refusals": refusals}


@dataclass(frozen=True)
class Outcome:
    """What a trial came to.

    Args:
        result: "passed", "failed", "unsupported", or "error" where it cannot be said, and not by the candidate's fault.
        record: the tally's counts.
        message: what is wrong, for a person; None where nothing is.
        reproducer: a program that shows it.
        reason: why there is nothing to say, of what is unsupported.
    """

    result: str
    record: Mapping[str, Any] = field(default_factory=dict)
    message: str | None = None
    reproducer: str | None = None
    reason: str | None = None
