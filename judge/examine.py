"""Examining an implementation: trials, each a strategy and a check, run until one fails and that is small."""

from __future__ import annotations

import contextlib
import time
import zlib
from collections.abc import Callable, Mapping, Set
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy

from . import progress
from .cases import STRETCHES, Case, cases
from .implementation import Implementation
from .reproducers.reproducer import reproducer
from .verdict import Finding, ParityError, Verdict
from .watching import Streams

FEWEST = 5  # cases of a trial, where so many are asked for
DEFAULT_EXAMPLES = 50  # cases for each trial
SHRINK_SECONDS = 3.0  # for Hypothesis to make a failing case smaller
SIMPLIFY_SECONDS = 1.0  # for trying each part of it at its plainest

# What makes a case plainer: fields of `Case` and of `LayerSpec`, tried in this order.
PLAINER: tuple[dict[str, Any], ...] = (
    {"modes": ("train",)},
    {"modes": ("eval",)},
    *({"cotangents": (name,)} for name in ("output", "h_n", "c_n")),
    {"plain_sum": True},
    {"frozen": (), "input_grad": True, "state_grad": True},
    {"lengths": None, "enforce_sorted": False},
    {"input_layout": "contiguous", "state_layout": "contiguous"},
    {"input_layout": "contiguous"},
    {"state_layout": "contiguous"},
    {"states": "absent"},
    {"weight_scale": 1.0},
    {"input_scale": 1.0},
    {"batch_first": False},
    {"proj_size": 0},
    {"bidirectional": False},
    {"num_layers": 1},
    {"num_layers": 2},
    {"bias": True},
    {"nonlinearity": "tanh"},
)

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
    """What a trial came to.

    Args:
        cases: judged.
        tensors: judged in them.
        undetermined: tensors for which the dtype carried no digits.
        worst: the finding nearest to its bound, or furthest beyond it.
        builtin_faults: cases in which the built-in is wrong.
        refused: cases in which the candidate raised, and the built-in too.
        refusal: what it said in the last of them.
        seconds: in all.
    """

    cases: int = 0
    tensors: int = 0
    undetermined: int = 0
    worst: Finding | None = None
    builtin_faults: int = 0
    refused: int = 0
    refusal: str | None = None
    seconds: float = 0.0

    def add(self, verdict: Verdict) -> None:
        """Count one verdict."""
        self.cases += 1
        self.tensors += len(verdict.findings)
        self.undetermined += len(verdict.undetermined)
        if verdict.refused is not None:
            self.refused, self.refusal = self.refused + 1, verdict.refused
        self.builtin_faults += verdict.builtin_fault is not None
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
        return asdict(self) | {"worst": worst}


def examine(
    trial: Trial,
    implementation: Implementation,
    dtype: torch.dtype,
    device: str = "cpu",
    *,
    examples: int,
    random_seed: int = 0,
    stretched: bool = True,
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
        stretched: whether some long, wide or large ones follow.
        tally: where to count, a new one by default.

    Returns:
        The tally.

    Raises:
        ParityError: a case failed; it carries the smallest one found.
    """
    __tracebackhide__ = True
    tally = tally or Tally()
    search = _Search(trial, implementation, tally)
    # Small sizes first, then some of each stretch, so that no run of luck leaves one out. The first case of any is
    # the simplest there is: one more is drawn.
    drawn = 1 + max(min(FEWEST, examples), round(examples * trial.share))
    plan: list[tuple[str | None, int]] = [(None, drawn)]
    plan += [(name, 1 + -(-drawn // 16)) for name in STRETCHES if stretched]
    start = time.perf_counter()
    for stretch, count in plan:
        strategy = cases(implementation, dtype, device, trial.vary, (stretch,), **trial.fixed).map(trial.adapt)
        name = f"{trial} {implementation.kind} {dtype} {device} {stretch}"
        _search(search.step, strategy, count, random_seed * 2**32 + zlib.crc32(name.encode()))
        if search.smallest is not None:
            break
    if search.smallest is not None:
        plainest = _plainest(search.smallest, trial, search.streams)
        tally.seconds += time.perf_counter() - start
        raise ParityError(plainest, reproducer(plainest, trial)) from None
    tally.seconds += time.perf_counter() - start
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
    with contextlib.suppress(_Failed, _Enough, Flaky):  # the reproducer finds out what comes and goes
        seed(random_seed)(run(given(strategy)(step)))()


class _Failed(Exception):
    """A case failed; Hypothesis is to make it smaller."""


class _Enough(BaseException):
    """Time is up; Hypothesis lets pass at once what is no `Exception`, and tries no smaller case."""


def _plainest(verdict: Verdict, trial: Trial, streams: Streams) -> Verdict:
    """Put each part of a failing case at its plainest where it still fails the trial."""
    deadline = time.perf_counter() + SIMPLIFY_SECONDS
    for change in PLAINER:
        case = verdict.case
        plainer = trial.adapt(_changed(case, change))
        if time.perf_counter() > deadline:
            break
        if plainer == case or trial.fixed.keys() & change.keys() or not set(plainer.cotangents) <= set(case.cotangents):
            continue
        found = check(trial, verdict.implementation, plainer, streams)
        if not found.ok:
            verdict = found
    return verdict


def _changed(case: Case, change: Mapping[str, Any]) -> Case:
    """Change fields of a case or of its spec, if that leaves no more than there was."""
    options = {name: value for name, value in change.items() if hasattr(case.spec, name)}
    if options.get("num_layers", 1) > case.spec.num_layers or ("plain_sum" in change and not case.cotangents):
        return case
    if change.get("modes") == ("eval",) and len(case.modes) == 1:
        return case
    spec = replace(case.spec, **options)
    frozen = tuple(name for name in case.frozen if name in spec.parameter_shapes())
    fields: dict[str, Any] = {"frozen": frozen} | {k: v for k, v in change.items() if k not in options}
    return replace(case, spec=spec, **fields)


class _Search:
    def __init__(self, trial: Trial, implementation: Implementation, tally: Tally) -> None:
        self.trial, self.implementation, self.tally = trial, implementation, tally
        self.smallest: Verdict | None = None
        self.deadline = float("inf")
        self.streams = Streams()

    def step(self, case: Case) -> None:
        if time.perf_counter() > self.deadline:
            raise _Enough
        verdict = check(self.trial, self.implementation, case, self.streams)
        if self.smallest is None:
            self.tally.add(verdict)
        if not verdict.ok:
            if self.smallest is None:
                self.deadline = time.perf_counter() + SHRINK_SECONDS
            self.smallest = verdict
            raise _Failed
