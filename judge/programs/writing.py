"""Which programs are written for a verdict: a form for each way to show a wrong tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..core.candidate import Implementation
from ..core.case import Case
from ..core.check import Program
from ..core.misbehaviour import Raised
from ..core.verdict import Finding, Verdict
from .misbehaviour import beginning, misbehaving

MOST_FINDINGS = 4  # that are tried, the worst first

# Writes programs that show a wrong tensor (of None: make the calls), each call repeated so often.
Form = Callable[[Case, Implementation, Finding | None, int], Iterator[str]]


def by(*forms: Form) -> Callable[[Verdict, int], Iterator[Program]]:
    """Return what writes the programs of a verdict in these forms, the simplest first.

    Args:
        forms: in the order in which they are tried.
    """

    def programs(verdict: Verdict, tries: int = 1) -> Iterator[Program]:
        case, implementation, seen = verdict.case, verdict.implementation, verdict.misbehaviour
        if seen is not None:
            for text in misbehaving(case, implementation, seen):
                yield Program(text, f"{seen.exception}: {seen.text}" if isinstance(seen, Raised) else beginning(seen))
        findings = [None] if seen else [finding for finding in verdict.findings if finding.ratio > 1][:MOST_FINDINGS]
        for finding in findings:
            for form in forms:
                for text in form(case, implementation, finding, tries):
                    yield Program(text, _says(verdict, finding))

    return programs


def _says(verdict: Verdict, finding: Finding | None) -> str:
    if finding is not None:
        return f"AssertionError: {finding.tensor} is "
    seen = verdict.misbehaviour
    return f"{seen.exception}: {seen.text}" if isinstance(seen, Raised) else f"AssertionError: {seen}"
