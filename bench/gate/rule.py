"""When a slowdown is one: a test over the pairs of processes that assumes nothing of how their times are spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from scipy.stats import quantile_test, wilcoxon

LOOKS = (6, 9, 12, 18, 24)  # blocks, of two pairs each, after which the rule is asked
LOOKS_AGAIN = (4, 6, 9, 12)  # likewise, of what is measured again: fewer aggregates are a less strict level
LEVEL = 0.05  # of calling one of all aggregates slower that is just within the tolerance; it is asked twice


class Answer(StrEnum):
    """What can be said of a slowdown."""

    FINE = "fine"
    REGRESSION = "regression"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Finding:
    """What the pairs say of one aggregate.

    Args:
        answer: fine, regression or undecided.
        slowdown: median of head over base, less 1.
        low: lower end of its 95 % interval.
        high: upper end.
        p_slower: of the pairs, were it slower by no more than the tolerance.
        p_within: of the pairs, were it slower by the tolerance or more.
        pairs: how many.
    """

    answer: Answer
    slowdown: float
    low: float
    high: float
    p_slower: float
    p_within: float
    pairs: int


@dataclass(frozen=True)
class Rule:
    """Wilcoxon's signed-rank test over the pairs.

    Args:
        tolerance: the slowdown that is let pass; 0.03 is 3 %.
        tests: how often chance is given an opportunity: aggregates times looks.
        level: of all of these together.
    """

    tolerance: float
    tests: int
    level: float = LEVEL

    def judge(self, differences: Sequence[float]) -> Finding:
        """Answer from the pairs.

        A slowdown that is neither shown to be more than the tolerance nor shown to be less is undecided. Fine has to
        be true of all aggregates at once, and so needs no correction for their number; a regression is in any of them.

        Args:
            differences: log(head / base) of each pair.
        """
        beyond = np.asarray(differences) - math.log1p(self.tolerance)
        p_slower, p_within = (_signed_rank(beyond, side) for side in ("greater", "less"))
        answer = Answer.FINE if p_within <= self.level else Answer.UNDECIDED
        if p_slower <= self.level / self.tests:
            answer = Answer.REGRESSION
        interval = quantile_test(differences, p=0.5).confidence_interval(0.95)
        slowdown, low, high = (math.expm1(end) for end in (np.median(differences), interval.low, interval.high))
        return Finding(answer, slowdown, low, high, p_slower, p_within, len(beyond))


def _signed_rank(beyond: np.ndarray[Any, Any], side: str) -> float:
    return float(wilcoxon(beyond, alternative=side, method="exact").pvalue)  # times are never tied
