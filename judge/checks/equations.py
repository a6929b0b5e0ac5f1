"""The equations: output, final states and every gradient against the oracle's."""

from __future__ import annotations

from dataclasses import replace

from ...reference.rounding import Array
from ..core.call import run
from ..core.candidate import Implementation, implementation_from
from ..core.case import Case
from ..core.check import Check
from ..core.verdict import Verdict, candidate, case_bounds, compared, loaded_builtin
from ..programs.forms import against_builtin
from ..programs.writing import by


def judge(implementation: Implementation, case: Case, masks: list[Array] | None = None) -> Verdict:
    """Run oracle, built-in and candidate on a case and compare every tensor.

    Args:
        implementation: the candidate.
        case: what to run it on.
        masks: dropout's factors on the output of every layer but the last, where they are certain.

    The candidate is held to the oracle within the bound, and so lies within twice the bound of a built-in that is
    right. A built-in over its own bound is reported, and the candidate judged by the oracle alone.
    """
    verdict = Verdict(implementation, case)
    builtin = loaded_builtin(case)
    once = replace(case, modes=case.modes[-1:])
    return compared(
        verdict,
        lambda: run(implementation, candidate(implementation, builtin, case), case),
        lambda: run(implementation_from(type(builtin), case.spec.kind), builtin, once),
        lambda copies: case_bounds(case, copies, masks),
    )


def packed(case: Case) -> Case:
    """Pack a case, with the lengths counting down from seq_len where none were drawn."""
    if case.lengths is not None:
        return case
    return replace(case, batched=True, lengths=tuple(max(1, case.seq_len - row) for row in range(case.batch)))


EQUATIONS = Check(judge, by(against_builtin))
