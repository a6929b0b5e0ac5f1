"""A verdict against a layer as the simplest program that is seen to fail the way the judge says."""

from __future__ import annotations

from typing import NamedTuple

from ..core.candidate import one_line
from ..core.check import Check
from ..core.misbehaviour import Ended
from ..core.verdict import Verdict
from ..programs.proof import left_alone, outcome

STEADY_CHECKS = 3  # of a verdict before its fault is taken for one that shows every time
UNSTEADY_TRIES = 200  # of a reproducer for a fault that comes and goes


class Reproducer(NamedTuple):
    """A program that shows a fault.

    Args:
        text: to paste into a file.
        plain: whether it is plain PyTorch; else it asks the judge again.
        unwritten: the exception that kept a plain program from being written or run, in one line.
    """

    text: str
    plain: bool = True
    unwritten: str | None = None


def reproducer(verdict: Verdict, check: Check, aspect: str, trial: str) -> Reproducer:
    """Return the simplest program that fails as the verdict says; where none does, one that asks the judge again.

    Args:
        verdict: against an implementation.
        check: that gave it.
        aspect: of the trial that asked.
        trial: its name.
    """
    unwritten, tries = None, 1
    try:
        if isinstance(verdict.misbehaviour, Ended):  # running the program would end the judge
            return Reproducer(next(check.programs(verdict, 1)).text)
        tries = 1 if _steady(verdict, check) else UNSTEADY_TRIES
        for program in check.programs(verdict, tries):
            came = outcome(program, verdict.implementation)
            if came is None:
                return Reproducer(program.text)
            unwritten = unwritten or came or None
    except Exception as error:  # a fault of ours; the verdict stands all the same
        unwritten = one_line(error)
    return Reproducer(replayed(verdict, aspect, trial, tries, unwritten), False, unwritten)


def _steady(verdict: Verdict, check: Check) -> bool:
    """Whether the fault shows every time."""
    with left_alone():
        return verdict.misbehaviour is not None or all(
            not check.verdict(verdict.implementation, verdict.case).ok for _ in range(STEADY_CHECKS)
        )


def replayed(verdict: Verdict, aspect: str, trial: str, tries: int = 1, unwritten: str | None = None) -> str:
    """Return a program that asks the judge for its verdict on the case again, several times for a random fault.

    Args:
        verdict: that is asked for again.
        aspect: of the trial that asked.
        trial: its name.
        tries: how many times.
        unwritten: why there is no plain program.
    """
    location, indent = verdict.implementation.location, "    " if tries > 1 else ""
    lines = [
        *([f"# no plain program: {unwritten}"] if unwritten else []),
        "import torch",
        *(["from math import inf, nan"] if verdict.case.nonfinite else []),
        "from rnn_parity.judge import Case, replay",
        "from rnn_parity.reference import LayerSpec",
        *([] if location else ["Candidate = ...  # the layer under judgement"]),
        "",
        f"case = {verdict.case!r}",
        *([f"for _ in range({tries}):  # the fault comes and goes"] if tries > 1 else []),
        f"{indent}replay({repr(location) if location else 'Candidate'}, {aspect!r}, {trial!r}, case)",
    ]
    return "\n".join(lines)
