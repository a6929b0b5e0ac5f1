"""A verdict against a layer as a program to paste, the simplest that is seen to fail the way the judge says."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from .. import dropout, relations, repeatability, second_order
from ..cases import Case
from ..implementation import Implementation
from ..verdict import Finding, Verdict, exact_products
from ..watching import restored
from . import dropout as of_dropout
from . import programs
from .misbehaviour import RAISED, misbehaving

if TYPE_CHECKING:
    from ..examine import Trial

STEADY_CHECKS = 3  # of a verdict before its fault is taken for one that shows every time
DROPPING_TRIES = 20  # of two calls that may happen to drop the same
UNSTEADY_TRIES = 200  # of a reproducer for a fault that comes and goes
MOST_FINDINGS = 4  # that are tried, the worst first
ENDED = re.compile(r"did not return|ended its process|used more than")  # running such a program ends the judge

RELATIONS: dict[Callable[..., Any], programs.Relation] = {
    relations.time_reversal: programs.time_reversal,
    relations.cut_and_carry: programs.cut_and_carry,
    relations.batch_permutation: programs.batch_permutation,
    relations.one_by_one: programs.one_by_one,
    relations.absent_is_zero: programs.absent_is_zero,
}


def reproducer(verdict: Verdict, trial: Trial) -> str:
    """Return the simplest program that fails as the verdict says; where none does, one that asks the judge again.

    Args:
        verdict: against an implementation.
        trial: which asked for it.
    """
    if ENDED.search(verdict.misbehaviour or ""):
        return plain(verdict)
    with _restored():
        steady = all(not trial.check(verdict.implementation, verdict.case).ok for _ in range(STEADY_CHECKS))
    written = (_of_misbehaviour if verdict.misbehaviour else _of_findings if steady else _of_unsteady)(verdict, trial)
    with contextlib.suppress(Exception):  # the verdict stands, whether or not there is a program for it
        return next(program for says, program in written if fails(program, says, verdict.implementation))
    return replayed(verdict, trial.aspect, trial.name, tries=1 if steady else UNSTEADY_TRIES)


def plain(verdict: Verdict) -> str:
    """Return a program that compares the worst tensor with `torch.nn`, or makes the call that misbehaves.

    Args:
        verdict: with a wrong tensor, or with misbehaviour.
    """
    if verdict.misbehaviour is not None:
        return misbehaving(verdict.case, verdict.implementation, verdict.misbehaviour)[-1]
    return programs.compared(verdict.case, verdict.implementation, verdict.findings[0])


def replayed(verdict: Verdict, aspect: str, trial: str, tries: int = 1) -> str:
    """Return a program that asks the judge for its verdict on the case again, several times for a random fault."""
    implementation = verdict.implementation
    target = repr(implementation.location) if implementation.location else "Candidate"
    return "\n".join(
        [
            "import torch",
            *(() if implementation.location else ("Candidate = ...  # the layer under judgement",)),
            "from rnn_parity.judge.cases import Case",
            "from rnn_parity.judge.aspects import replay",
            "from rnn_parity.reference import LayerSpec",
            "",
            f"case = {verdict.case!r}",
            *((f"for _ in range({tries}):  # the fault comes and goes",) if tries > 1 else ()),
            f"{'    ' if tries > 1 else ''}replay({target}, {aspect!r}, {trial!r}, case)",
        ]
    )


def _of_findings(verdict: Verdict, trial: Trial) -> Iterator[tuple[str, str]]:
    """Yield programs for the wrong tensors, the worst first, each with how the message of its assertion begins."""
    case, implementation = verdict.case, verdict.implementation
    for finding in [finding for finding in verdict.findings if finding.ratio > 1][:MOST_FINDINGS]:
        for program in forms(case, implementation, finding, trial.check):
            yield f"{finding.tensor} is ", program


def _of_unsteady(verdict: Verdict, trial: Trial) -> Iterator[tuple[str, str]]:
    """Yield programs that make the call many times, for a fault that comes and goes."""
    for finding in [finding for finding in verdict.findings if finding.ratio > 1][:MOST_FINDINGS]:
        form = programs.repeated if trial.check is repeatability.repeated else programs.compared
        yield f"{finding.tensor} is ", form(verdict.case, verdict.implementation, finding, UNSTEADY_TRIES)


def forms(case: Case, implementation: Implementation, finding: Finding, check: Callable[..., Any]) -> Iterator[str]:
    """Yield the programs that may show a wrong tensor, the simplest first.

    Args:
        case: in which it is wrong.
        implementation: the candidate.
        finding: the tensor, or the statistic, with its bound.
        check: what found it.
    """
    if check is dropout.distribution:
        yield of_dropout.distribution(case, implementation, finding)
        return
    if check is second_order.second_order:
        yield programs.second_order(case, implementation, finding)
        return
    if not _drops(case) or check is dropout.like_builtin:  # no layer owes anyone the random numbers of torch.nn
        if not finding.tensor.endswith(".grad"):
            yield programs.compared(replace(case, cotangents=(), frozen=()), implementation, finding)
        yield programs.compared(case, implementation, finding)
    if check is relations.two_losses:
        yield programs.two_losses(case, implementation, finding, of_second=False)
        yield programs.two_losses(case, implementation, finding, of_second=True)
    if check is repeatability.repeated:
        yield programs.repeated(case, implementation, finding, DROPPING_TRIES if _drops(case) else 1)
    if check in RELATIONS:
        yield programs.related(case, implementation, finding, RELATIONS[check])


def _drops(case: Case) -> bool:
    return case.modes[-1] == "train" and 0 < case.spec.dropout < 1


def _of_misbehaviour(verdict: Verdict, trial: Trial) -> Iterator[tuple[str, str]]:
    """Yield programs that make the calls of a trial, each with how the message of its assertion begins."""
    case, implementation, text = verdict.case, verdict.implementation, verdict.misbehaviour or ""
    says = re.split(r", got| changed from|(?<=PyTorch's) from|, found", text)[0]
    if trial.check is dropout.distribution:
        yield says, of_dropout.same_mask(case, implementation, text)
    for program in misbehaving(case, implementation, text):
        yield text if RAISED.match(text) else says, program
    if trial.check is second_order.second_order:
        yield text, programs.second_order(case, implementation, None)
    if trial.check is relations.two_losses:
        yield text, programs.two_losses(case, implementation, None, of_second=False)
    if trial.check in RELATIONS:
        none = Finding("output", 0.0, 0.0)
        yield text, programs.related(case, implementation, none, RELATIONS[trial.check])


def fails(program: str, says: str, implementation: Implementation) -> bool:
    """Run a program, twice with other random numbers, and return whether it fails as it should.

    Args:
        program: to run.
        says: how the message of its assertion begins, or what raised which exception.
        implementation: the candidate, for a program without an import of it.
    """
    raised = RAISED.match(says)
    kind, message = raised.groups() if raised else ("AssertionError", says)
    for seed in range(2):
        error = _run(program, implementation, seed)
        if type(error).__name__ != kind or not _comparable(error).startswith(_comparable(message)):
            return False
    return True


def _comparable(message: object) -> str:
    """Leave out of a message what differs from run to run: numbers, spaces, and where a long one ends."""
    return re.sub(r"[\d\s]+", "", str(message))[:60]


def _run(program: str, implementation: Implementation, seed: int) -> BaseException | None:
    """Run a program as its reader would, silently, and leave PyTorch as it was."""
    names: dict[str, Any] = {"__name__": "__main__"}
    if implementation.location is None:
        program = re.sub(r"^Candidate = \.\.\..*$", "", program, flags=re.MULTILINE)
        of = implementation
        adapter = SimpleNamespace(from_builtin=of.from_builtin, gradients=of.gradients)
        names["Candidate"] = adapter if of.from_builtin else of.factory
    with _restored(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        torch.manual_seed(seed)
        try:
            exec(compile(program, "<reproducer>", "exec"), names)
        except (Exception, SystemExit) as error:  # whatever the layer raises
            return error
    return None


@contextlib.contextmanager
def _restored() -> Iterator[None]:
    with torch.random.fork_rng(), exact_products(), warnings.catch_warnings(), restored():
        warnings.simplefilter("ignore")
        yield
