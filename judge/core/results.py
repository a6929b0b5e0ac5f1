"""What a trial comes to, and how often an error was how near to its bound; nothing here imports PyTorch."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection

PASSED, FAILED, UNSUPPORTED, ERROR = "passed", "failed", "unsupported", "error"
RESULTS = (FAILED, ERROR, PASSED, UNSUPPORTED)  # the first there is among several speaks for all
WORDS = {FAILED: "FAIL", ERROR: "ERROR", PASSED: "pass", UNSUPPORTED: "unsupp."}

# Between two of these ratios of error to bound, half a decade apart, tensors are counted together: 1 is the bound.
EDGES = tuple(10.0 ** (half / 2) for half in range(-8, 9))


def result_of(results: Collection[str]) -> str:
    """Return what several results come to together; of none, "unsupported"."""
    return next((result for result in RESULTS if result in results), UNSUPPORTED)


def bin_of(ratio: float) -> int:
    """Return the place of a ratio among the counts: 0 up to the first edge, `len(EDGES)` past the last."""
    return bisect_left(EDGES, ratio)
