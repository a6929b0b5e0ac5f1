"""The search for a case that fails a trial, and the way from there to a small one."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import hypothesis.internal.conjecture.providers
import torch
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import Flaky

from ...reference.builtin import LAYERS
from ..checks.likeness import known_as
from ..core.candidate import Implementation, implementation_from
from ..core.case import Case
from ..core.device import computes_on, loses_device, lost_device
from ..core.guard import BUILTIN, Streams, begins, on_behalf_of
from ..core.misbehaviour import Ended, OfAdapter, Raised, Seeded
from ..core.results import ERROR, FAILED, PASSED, UNSUPPORTED
from ..core.strategies import cases, within_means
from ..core.verdict import ParityError, Verdict
from .question import Question
from .reproducer import replayed, reproducer
from .schedule import Block, blocks
from .trial import Outcome, Tally, Trial

SHRINK_SECONDS = 3.0  # for Hypothesis to make a failing case smaller
SIMPLIFY_SECONDS = 1.0  # for trying each part of it at its plainest

NAMED = ("forward", "state", "packed")  # aspects in whose trials a layer is told what it is instead

# What makes a case plainer: fields of `Case` and of `LayerSpec`, tried in this order.
PLAINER: tuple[dict[str, Any], ...] = (
    {"modes": ("train",)},
    {"grad_mode": "no_grad"},
    {"modes": ("eval",)},
    *({"cotangents": (name,)} for name in ("output", "h_n", "c_n")),
    {"plain_sum": True},
    {"frozen": (), "input_grad": True, "state_grad": True, "cell_grad": True},
    {"lengths": None, "enforce_sorted": False},
    {"input_layout": "contiguous", "state_layout": "contiguous", "cell_layout": "contiguous"},
    {"input_layout": "contiguous"},
    {"state_layout": "contiguous"},
    {"cell_layout": "contiguous"},
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


class JudgeError(Exception):
    """The judge itself failed on a case, or the adapter before a layer did: nothing is said of the implementation.

    Args:
        verdict: names the implementation and the case.
        trial: that was asked.
    """

    def __init__(self, verdict: Verdict, trial: Trial) -> None:
        said, details = _blames_itself(verdict.implementation), f"\n{verdict.broken}"
        if verdict.misbehaviour is not None:
            said = f"{verdict.misbehaviour}; nothing is said of the layer behind {verdict.implementation.name}"
            details = ""
        super().__init__(f"{said}\n  case: {verdict.case.describe()}{details}")
        self.reproducer = _shown(verdict, trial)


def _shown(verdict: Verdict, trial: Trial) -> str:
    if verdict.misbehaviour is None:
        return replayed(verdict, trial.aspect, trial.name)
    return reproducer(verdict, trial.check, trial.aspect, trial.name).text


def _blames_itself(implementation: Implementation) -> str:
    return f"the judge failed, and nothing is said of {implementation.name}; please report this"


def asked(
    trial: Trial | Question,
    implementation: Implementation,
    dtype: torch.dtype,
    device: str,
    examples: int,
    seed: int,
    without: Sequence[str] = (),
) -> Outcome:
    """Ask a trial or a question about an implementation, and return what it came to.

    Args:
        trial: what is asked.
        implementation: of what.
        dtype: of every tensor.
        device: such as "cpu" or "cuda".
        examples: cases for a trial.
        seed: which cases.
        without: features that fail already: they are left out, for what is behind them to show.
    """
    if isinstance(trial, Question):
        return trial.asked(implementation, dtype, device)
    tally, left = Tally(), frozenset(without) - set(trial.needs)
    implementation = replace(implementation, unsupported=implementation.unsupported | left)
    try:
        for plan in blocks(trial, implementation, dtype, examples, seed):
            search(trial, implementation, dtype, device, plan, tally)
    except ParityError as error:
        features = error.verdict.case.features()
        return Outcome(FAILED, tally.as_record() | {"features": features}, str(error), error.reproducer)
    except JudgeError as error:
        return Outcome(ERROR, tally.as_record(), str(error), error.reproducer)
    except Exception:  # of the search, or of writing a program
        return Outcome(ERROR, tally.as_record(), f"{_blames_itself(implementation)}\n{traceback.format_exc()}")
    if tally.refused and tally.refused == tally.cases:
        return Outcome(UNSUPPORTED, tally.as_record(), reason=f"{tally.refusal}, as torch.nn does")
    return Outcome(PASSED, tally.as_record())


def search(
    trial: Trial, implementation: Implementation, dtype: torch.dtype, device: str, plan: Sequence[Block], tally: Tally
) -> None:
    """Draw cases until one fails or all have passed, and shrink one that fails.

    Args:
        trial: what is asked.
        implementation: of what.
        dtype: of every tensor.
        device: such as "cpu" or "cuda".
        plan: how many cases, and which.
        tally: where to count.

    Raises:
        ParityError: a case failed; it carries the smallest one found.
        JudgeError: the judge did.
    """
    __tracebackhide__ = True
    found = _Search(trial, implementation, tally)
    start = time.perf_counter()
    try:
        for block in plan:
            draw(found.step, trial, implementation, dtype, device, block)
            if found.broken is not None:
                raise JudgeError(found.broken, trial)
            if found.smallest is not None:
                plainest = _plainest(found.smallest, trial, found.streams)
                if plainest.misbehaviour is None and trial.aspect in NAMED:
                    plainest.likeness = known_as(implementation, dtype, device)
                raise ParityError(plainest, *reproducer(plainest, trial.check, trial.aspect, trial.name))
    finally:
        tally.seconds += time.perf_counter() - start


def ask(trial: Trial, implementation: Implementation, case: Case, streams: Streams) -> Verdict:
    """Ask for the verdict on one case.

    A global generator that was seeded in it is misbehaviour too; what raises where torch.nn raises as well is refused,
    not wrong; and what goes wrong in the judge itself is said in the verdict.
    """
    begins(case)
    computes_on(case.device)
    if lost_device() is not None:
        return Verdict(implementation, case, broken=f"an earlier case {lost_device()}")
    try:
        with streams.case():
            verdict = trial.check.verdict(implementation, case)
            if isinstance(verdict.misbehaviour, OfAdapter):
                verdict.broken = str(verdict.misbehaviour)
            if isinstance(verdict.misbehaviour, Raised):
                with on_behalf_of(BUILTIN):
                    beside = trial.check.verdict(implementation_from(LAYERS[case.spec.kind], case.spec.kind), case)
                if isinstance(beside.misbehaviour, Raised):
                    return Verdict(implementation, case, refused=str(verdict.misbehaviour))
    except Exception as error:
        loses_device(error)
        return Verdict(implementation, case, broken=traceback.format_exc())
    if streams.reseeded is not None and verdict.ok:
        verdict.misbehaviour = Seeded(streams.reseeded)
    return verdict


def draw(
    step: Callable[[Case], None],
    trial: Trial,
    implementation: Implementation,
    dtype: torch.dtype,
    device: str,
    block: Block,
) -> None:
    """Draw a trial's cases, and smaller ones after one that `step` raises of.

    Args:
        step: is given each case.
        trial: whose cases.
        implementation: that can be run on them.
        dtype: of every tensor.
        device: such as "cpu" or "cuda".
        block: how many cases, and which.
    """
    drawn = cases(implementation, dtype, device, trial.vary, (block.stretch,), **trial.fixed)
    strategy = drawn.map(lambda case: within_means(implementation, trial.adapt(case)))
    first = True

    def on_drawn(case: Case) -> None:
        nonlocal first
        simplest, first = first, False
        if not simplest:  # Hypothesis begins every run with the simplest case there is
            step(case)

    run = settings(
        max_examples=block.examples + 1,
        database=None,
        deadline=None,
        derandomize=False,
        phases=tuple(Phase),
        verbosity=Verbosity.normal,
        backend="hypothesis",
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    # What comes and goes, the reproducer finds out.
    with _no_numbers_of_others(), contextlib.suppress(_Failed, _Enough, Flaky):
        seeded(block.seed)(run(given(strategy)(on_drawn)))()


@contextlib.contextmanager
def _no_numbers_of_others() -> Iterator[None]:
    """Keep Hypothesis from reading every imported module for numbers to draw.

    They would make cases depend on whatever else is imported, and a module that loads lazily may raise at the look.
    """
    providers: Any = hypothesis.internal.conjecture.providers
    own = getattr(providers, "_get_local_constants", None)
    if own is None:  # other versions of Hypothesis draw nothing of that kind
        yield
        return
    cached = providers.CONSTANTS_CACHE.cache
    cached.clear()
    providers._get_local_constants = providers.Constants
    try:
        yield
    finally:
        providers._get_local_constants = own
        cached.clear()


class _Failed(Exception):
    """A case failed; Hypothesis is to make it smaller."""


class _Enough(BaseException):
    """Time is up; Hypothesis lets pass at once what is no `Exception`, and tries no smaller case."""


class _Search:
    def __init__(self, trial: Trial, implementation: Implementation, tally: Tally) -> None:
        self.trial, self.implementation, self.tally = trial, implementation, tally
        self.smallest: Verdict | None = None
        self.broken: Verdict | None = None
        self.deadline = float("inf")
        self.streams = Streams()

    def step(self, case: Case) -> None:
        if time.perf_counter() > self.deadline:
            raise _Enough
        verdict = ask(self.trial, self.implementation, case, self.streams)
        if verdict.broken is not None:
            if self.smallest is None:
                self.broken = verdict
                raise _Enough
            return  # a smaller case that the judge cannot answer says nothing
        if self.smallest is None:
            self.tally.add(verdict)
        if not verdict.ok:
            if self.smallest is None:
                self.deadline = time.perf_counter() + SHRINK_SECONDS
            self.smallest = verdict
            raise _Enough if isinstance(verdict.misbehaviour, Ended) else _Failed  # nothing runs after its end


def _plainest(verdict: Verdict, trial: Trial, streams: Streams) -> Verdict:
    """Put each part of a failing case at its plainest where it still fails the trial."""
    deadline = time.perf_counter() + SIMPLIFY_SECONDS
    for change in PLAINER:
        case = verdict.case
        if time.perf_counter() > deadline:
            break
        plainer = within_means(verdict.implementation, trial.adapt(_changed(case, change)))
        if plainer == case or trial.fixed.keys() & change.keys() or not set(plainer.cotangents) <= set(case.cotangents):
            continue
        found = ask(trial, verdict.implementation, plainer, streams)
        if found.broken is None and not found.ok:
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
