"""Which programs are written for a verdict: a form for each way to show a wrong tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..core.check import Program
from ..core.verdict import Verdict
from .forms import Form
from .misbehaviour import expected, misbehaving

MOST_FINDINGS = 4  # that are tried, the worst first


def by(*forms: Form) -> Callable[[Verdict, int], Iterator[Program]]:
    """Return what writes the programs of a verdict in these forms, the simplest first.

    Args:
        forms: in the order in which they are tried.
    """

    def programs(verdict: Verdict, tries: int = 1) -> Iterator[Program]:
        case, implementation, seen = verdict.case, verdict.implementation, verdict.misbehaviour
        if seen is not None:
            yield from misbehaving(case, implementation, seen)
            for form in forms:
                yield from (Program(text, expected(seen)) for text in form(case, implementation, None, tries))
        for finding in [finding for finding in verdict.findings if finding.ratio > 1][:MOST_FINDINGS]:
            for form in forms:
                for text in form(case, implementation, finding, tries):
                    yield Program(text, f"AssertionError: {finding.tensor} is ")

    return programs
