"""A check: a question about one case, and the programs that show its answer without the judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .candidate import Implementation
from .case import Case
from .verdict import Verdict


class Program(NamedTuple):
    """A program that shows a fault.

    Args:
        text: to paste into a file.
        fails: how the message of its assertion begins, or "CLASS: " and how that exception's does.
    """

    text: str
    fails: str


@dataclass(frozen=True)
class Check:
    """A question about an implementation on one case.

    Args:
        verdict: answers it.
        programs: writes programs for a verdict that is against the implementation, the simplest first; each call in
            them is made so many times.
    """

    verdict: Callable[[Implementation, Case], Verdict]
    programs: Callable[[Verdict, int], Iterator[Program]]
