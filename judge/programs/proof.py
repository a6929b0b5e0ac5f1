"""A program is shown only when it has been run, and fails as the judge says."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch

from ..core.candidate import Implementation, one_line
from ..core.check import Program
from ..core.device import has_cuda
from ..core.guard import CANDIDATE, JUDGE, begins
from ..core.settings import restored
from ..core.verdict import exact_products

SEEDS = (2**40 + 1, 2**40 + 2)  # which no layer is likely to set


def outcome(program: Program, implementation: Implementation) -> str | None:
    """Run a program, twice with other random numbers, and return what came of it where that is not what it is to show.

    Returns:
        None where it fails as it should; "" where it passes, or another assertion fails; else the exception, which is
        the program's fault or the layer's.
    """
    kind, _, message = program.fails.partition(": ")
    for seed in SEEDS:
        error = error_of(program.text, implementation, seed)
        if type(error).__name__ != kind or not _comparable(error).startswith(_comparable(message)):
            return "" if error is None or isinstance(error, AssertionError) else one_line(error)
    return None


def _comparable(message: object) -> str:
    """Leave out of a message what differs from run to run: numbers, spaces, and where a long one ends."""
    return re.sub(r"[\d\s]+", "", str(message))[:60]


def error_of(program: str, implementation: Implementation, seed: int = 0) -> BaseException | None:
    """Run a program as its reader would, silently, leave PyTorch as it was, and return what it raised."""
    names: dict[str, Any] = {"__name__": "__main__"}
    if implementation.location is None:
        program = re.sub(r"^Candidate = \.\.\..*$", "", program, flags=re.MULTILINE)
        of = implementation
        adapter = SimpleNamespace(from_builtin=of.from_builtin, gradients=of.gradients)
        names["Candidate"] = adapter if of.from_builtin else of.factory
    with left_alone(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        torch.manual_seed(seed)
        begins((CANDIDATE, "its program"))
        error: BaseException | None = None
        try:
            exec(compile(program, "<reproducer>", "exec"), names)
        except (Exception, SystemExit) as raised:  # whatever the layer raises
            error = raised
        begins((JUDGE, "comparing"))
    return error


@contextlib.contextmanager
def left_alone() -> Iterator[None]:
    """Run programs as their reader would, and leave PyTorch as it was."""
    with torch.random.fork_rng(_devices()), exact_products(), warnings.catch_warnings(), restored():
        warnings.simplefilter("ignore")
        yield


def _devices() -> list[int] | None:
    """Return whose generators are put back: of CUDA's devices none as long as nothing has started CUDA."""
    if not torch.cuda.is_available():
        return None  # those of another accelerator, if there is one
    return list(range(torch.cuda.device_count())) if has_cuda() else []
