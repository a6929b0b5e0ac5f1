"""Timing calls round by round, and the ratio of two of them with its interval."""

import math
import time
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

ROUND_SECONDS = 2e-3  # a call shorter than this is repeated within a round
MIN_ROUNDS = 6  # the fewest whose smallest and largest hold the median in 95 % of all cases
PATIENCE = 10.0

Call = Callable[[], Any]
Name = TypeVar("Name", bound=Hashable)


class Ratio(NamedTuple):
    """The median of the ratios of all rounds, and the interval that holds the true median with 95 % confidence."""

    median: float
    low: float
    high: float


def ratio(ours: list[float], base: list[float]) -> Ratio:
    """Compare the times of two calls, round by round; the interval is distribution-free (binomial).

    Args:
        ours: seconds of each round, NaN for one sat out.
        base: likewise, of the call to divide by.
    """
    from scipy.stats import quantile_test  # takes as long to import as some processes of the gate measure

    quotients = np.asarray(ours) / np.asarray(base)
    quotients = quotients[np.isfinite(quotients)]
    interval = quantile_test(quotients, q=1.0, p=0.5).confidence_interval(0.95)
    return Ratio(float(np.median(quotients)), float(interval.low), float(interval.high))


def timed(call: Call, times: int, device: str) -> float:
    """Return the seconds that one of several calls took, complete on the device."""
    start = time.perf_counter()
    for _ in range(times):
        call()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / times


def timed_rounds(
    calls: dict[Name, Call], seconds: float, device: str = "cpu", patience: float = PATIENCE
) -> dict[Name, list[float]]:
    """Time calls side by side: in each round one after the other, in the next round in reverse order.

    A machine that speeds up or slows down then favours none.

    Args:
        calls: by name; the first is the one that the others are compared with.
        seconds: how long to go on; longer where `MIN_ROUNDS` take longer.
        device: "cpu" or "cuda".
        patience: a call sits a round out while it has had more than so many times the first one's time.

    Returns:
        Seconds a call by name, one for each round; NaN where the call sat the round out.
    """
    once = {name: min(timed(call, 1, device) for _ in range(2)) for name, call in calls.items()}
    repeats = {name: math.ceil(ROUND_SECONDS / duration) for name, duration in once.items()}
    spent: dict[Name, float] = dict.fromkeys(calls, 0.0)
    found: dict[Name, list[float]] = {name: [] for name in calls}
    first, end = next(iter(calls)), time.perf_counter() + seconds
    while time.perf_counter() < end or min(np.isfinite(rounds).sum() for rounds in found.values()) < MIN_ROUNDS:
        turn = len(found[first])
        allowed = patience * spent[first]
        for name in list(calls)[:: -1 if turn % 2 else 1]:
            duration = math.nan
            if name == first or spent[name] <= allowed:
                duration = timed(calls[name], repeats[name], device)
                spent[name] += duration * repeats[name]
            found[name].append(duration)
    return found
