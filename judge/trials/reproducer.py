"""A verdict against a layer as the simplest program that is seen to fail the way the judge says."""

from __future__ import annotations

from ..core.check import Check
from ..core.misbehaviour import Ended
from ..core.verdict import Verdict
from ..programs.proof import fails, left_alone

STEADY_CHECKS = 3  # of a verdict before its fault is taken for one that shows every time
UNSTEADY_TRIES = 200  # of a reproducer for a fault that comes and goes


def reproducer(verdict: Verdict, check: Check, aspect: str, trial: str) -> str:
    """Return the simplest program that fails as the verdict says; where none does, one that asks the judge again.

    Args:
        verdict: against an implementation.
        check: that gave it.
        aspect: of the trial that asked.
        trial: its name.
    """
    if isinstance(verdict.misbehaviour, Ended):  # running the program would end the judge
        return next(check.programs(verdict, 1)).text
    with left_alone():
        steady = verdict.misbehaviour is not None or all(
            not check.verdict(verdict.implementation, verdict.case).ok for _ in range(STEADY_CHECKS)
        )
    tries = 1 if steady else UNSTEADY_TRIES
    for program in check.programs(verdict, tries):
        if fails(program, verdict.implementation):
            return program.text
    return replayed(verdict, aspect, trial, tries)


def replayed(verdict: Verdict, aspect: str, trial: str, tries: int = 1) -> str:
    """Return a program that asks the judge for its verdict on the case again, several times for a random fault."""
    implementation = verdict.implementation
    target = repr(implementation.location) if implementation.location else "Candidate"
    return "\n".join(
        [
            "import torch",
            *(() if implementation.location else ("Candidate = ...  # the layer under judgement",)),
            "from rnn_parity.judge.core.case import Case",
            "from rnn_parity.judge import replay",
            "from rnn_parity.reference import LayerSpec",
            "",
            f"case = {verdict.case!r}",
            *((f"for _ in range({tries}):  # the fault comes and goes",) if tries > 1 else ()),
            f"{'    ' if tries > 1 else ''}replay({target}, {aspect!r}, {trial!r}, case)",
        ]
    )
