"""Examining an implementation: trials, each a strategy and a check, run until one fails and that is small."""

from __future__ import annotations

import contextlib
import time
import zlib
from collections.abc import Callable, Mapping, Set
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy

from . import progress
from .cases import STRETCHES, Case, cases
from .dropout import certain
from .implementation import Implementation
from .reproducer import plain, replayed
from .verdict import Finding, ParityError, Verdict, judge
from .watching import Streams

DEFAULT_EXAMPLES = 50  # cases for each trial
SHRINK_SECONDS = 6.0  # spent on making a failing case smaller

UNREPEATABLE_TRIES = 200  # of a reproducer for a fault that comes and goes

Check = Callable[[Implementation, Case], Verdict]


@dataclass(frozen=True, repr=False)
class Trial:
    """One question about an implementation.

    Args:
        aspect: what it belongs to.
        name: what is asked.
        check: forms the verdict on a case.
        vary: which of `cases.VARIATIONS` its cases draw.
        needs: keys of `implementation.FEATURES` without which there is nothing to ask.
        fixed: fields of `LayerSpec` that are not drawn.
        adapt: changes a drawn case to what the check asks for.
        share: of the usual number of examples.
        dtypes: those it can be asked in, None for all.
        like_builtin: whether it is asked only of layers that draw dropout like the built-in, on the CPU.
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
    like_builtin: bool = False

    def __repr__(self) -> str:
        return f"{self.aspect}: {self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Between processes a trial travels by its name.
        from .aspects import trial_named

        return trial_named, (self.aspect, self.name)

    def applies_to(self, implementation: Implementation, dtype: torch.dtype, device: str) -> bool:
        """Whether the question makes sense there at all, supported or not."""
        if self.like_builtin and not (implementation.draws_like_builtin and device == "cpu"):
            return False
        return self.dtypes is None or dtype in self.dtypes

    def unsupported(self, implementation: Implementation, dtype: torch.dtype, device: str) -> list[str]:
        """Return what the trial needs and the implementation declares unsupported."""
        needed = (*self.needs, str(dtype).removeprefix("torch."), torch.device(device).type)
        return [feature for feature in needed if not implementation.supports(feature)]


@dataclass
class Tally:
    """What a trial came to: cases judged, tensors judged and undetermined, the worst finding, the built-in's faults."""

    cases: int = 0
    tensors: int = 0
    undetermined: int = 0
    worst: Finding | None = None
    builtin_faults: int = 0
    seconds: float = 0.0

    def add(self, verdict: Verdict) -> None:
        """Count one verdict."""
        self.cases += 1
        self.tensors += len(verdict.findings)
        self.undetermined += len(verdict.undetermined)
        self.builtin_faults += verdict.builtin_fault is not None
        for finding in verdict.findings[:1]:
            if self.worst is None or finding.ratio > self.worst.ratio:
                self.worst = finding

    def as_record(self) -> dict[str, Any]:
        """Return the counts for a report."""
        return asdict(self) | {"worst": self.worst and asdict(self.worst) | {"ratio": self.worst.ratio}}


def examine(
    trial: Trial,
    implementation: Implementation,
    dtype: torch.dtype,
    device: str = "cpu",
    *,
    examples: int,
    random_seed: int = 0,
    tally: Tally | None = None,
) -> Tally:
    """Draw cases until one fails or `examples` have passed, and shrink one that fails.

    Args:
        trial: what is asked.
        implementation: of what.
        dtype: of every tensor.
        device: "cpu" or "cuda".
        examples: cases to draw.
        random_seed: which ones.
        tally: where to count, a new one by default.

    Returns:
        The tally.

    Raises:
        ParityError: a case failed; it carries the smallest one found.
    """
    __tracebackhide__ = True
    tally = tally or Tally()
    search = _Search(trial, implementation, tally)
    drawn = max(1, round(examples * trial.share))
    # Small sizes first, then some of each stretch, so that no run of luck leaves one out.
    plan: list[tuple[str | None, int]] = [(None, drawn), *((name, -(-drawn // 16)) for name in STRETCHES)]
    start = time.perf_counter()
    for stretched, count in plan:
        strategy = cases(implementation, dtype, device, trial.vary, (stretched,), **trial.fixed).map(trial.adapt)
        name = f"{trial} {implementation.kind} {dtype} {device} {stretched}"
        try:
            _search(search.step, strategy, count, random_seed * 2**32 + zlib.crc32(name.encode()))
        except Flaky:
            search.repeatable = False
        if search.smallest is not None:
            break
    tally.seconds += time.perf_counter() - start
    if search.smallest is not None:
        raise ParityError(search.smallest, _reproducer(search.smallest, trial, search.repeatable)) from None
    return tally


def check(trial: Trial, implementation: Implementation, case: Case, streams: Streams) -> Verdict:
    """Ask for the verdict on one case; a global generator that was seeded in it is misbehaviour too."""
    progress.begins(case)
    with streams.case():
        verdict = trial.check(implementation, case)
    if streams.reseeded is not None and verdict.ok:
        verdict.misbehaviour = f"it seeded {streams.reseeded} global random generator"
    return verdict


def _search(step: Callable[[Case], None], strategy: SearchStrategy[Case], count: int, random_seed: int) -> None:
    run = settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=False,
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    with contextlib.suppress(_Failed):
        seed(random_seed)(run(given(strategy)(step)))()


def _reproducer(verdict: Verdict, trial: Trial, repeatable: bool) -> str:
    """Plain PyTorch for a wrong tensor and for an exception; the judge's own question for the rest."""
    raised = verdict.misbehaviour is not None and verdict.misbehaviour.startswith(("forward raised", "backward raised"))
    if trial.check in (judge, certain) and repeatable and (verdict.misbehaviour is None or raised):
        return plain(verdict)
    return replayed(verdict, trial.aspect, trial.name, tries=1 if repeatable else UNREPEATABLE_TRIES)


class _Failed(Exception):
    """A case failed; Hypothesis is to make it smaller."""


class _Search:
    def __init__(self, trial: Trial, implementation: Implementation, tally: Tally) -> None:
        self.trial, self.implementation, self.tally = trial, implementation, tally
        self.smallest: Verdict | None = None
        self.repeatable = True
        self.deadline = float("inf")
        self.streams = Streams()

    def step(self, case: Case) -> None:
        if time.perf_counter() > self.deadline and self.smallest is not None:
            if case == self.smallest.case:
                raise _Failed
            return  # Hypothesis takes it for passed, and stops where it is
        verdict = check(self.trial, self.implementation, case, self.streams)
        if self.smallest is None:
            self.tally.add(verdict)
        if not verdict.ok:
            if self.smallest is None:
                self.deadline = time.perf_counter() + SHRINK_SECONDS
            self.smallest = verdict
            raise _Failed
