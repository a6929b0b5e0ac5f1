"""A question about the interface: asked once, not of many cases, and answered by a program."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from ...reference.builtin import LAYERS
from ..checks.interface import Point
from ..core.candidate import Implementation, implementation_from
from ..core.guard import BUILTIN, on_behalf_of, watched
from ..core.results import FAILED, PASSED, UNSUPPORTED
from ..programs.proof import error_of
from .trial import Outcome, Tally

NO_CONSTRUCTOR = "an adapter has no constructor of torch.nn's"


@dataclass(frozen=True, repr=False)
class Question:
    """One question about how a layer is built, stored, printed and called.

    Args:
        aspect: what it belongs to.
        point: what must hold, and the program that asks.
    """

    aspect: str
    point: Point

    def __repr__(self) -> str:
        return f"{self.aspect}: {self.name}"

    @property
    def name(self) -> str:
        """What is asked."""
        return self.point.name

    def applies_to(self, implementation: Implementation, dtype: torch.dtype, device: str) -> bool:
        """Whether the question makes sense there at all, supported or not."""
        return implementation.kind in self.point.kinds

    def unsupported(self, implementation: Implementation, dtype: torch.dtype, device: str) -> list[str]:
        """Return what the question needs and the implementation declares unsupported."""
        place = (str(dtype).removeprefix("torch."), torch.device(device).type)
        needed = (*self.point.needs(implementation.kind), *place)
        return [feature for feature in needed if not implementation.supports(feature)]

    def asked(self, implementation: Implementation, dtype: torch.dtype, device: str) -> Outcome:
        """Ask the built-in, for what it does not do itself is held against nobody, then the implementation."""
        kind = implementation.kind
        if implementation.from_builtin is not None and not self.point.of_call:
            return Outcome(UNSUPPORTED, reason=NO_CONSTRUCTOR)
        start = time.perf_counter()
        with on_behalf_of(BUILTIN):
            of_builtin = self._answer(implementation_from(LAYERS[kind], kind), dtype, device)
        if of_builtin is not None:
            return Outcome(UNSUPPORTED, reason=f"torch.nn.{kind.upper()} itself: {of_builtin}")
        wrong = self._answer(implementation, dtype, device)
        record = Tally(seconds=time.perf_counter() - start).as_record()
        if wrong is None:
            return Outcome(PASSED, record)
        message = f"{implementation.name} is not a drop-in for torch.nn.{kind.upper()}: {self.name}: {wrong}"
        return Outcome(FAILED, record, message, self.point.program(implementation, dtype, device))

    def _answer(self, implementation: Implementation, dtype: torch.dtype, device: str) -> str | None:
        """Return what is wrong, None where nothing is."""
        with watched(f"asked whether it {self.name}, it"):
            error = error_of(self.point.program(implementation, dtype, device), implementation)
        if error is None:
            return None
        said = " ".join(str(error).split())
        return said if isinstance(error, AssertionError) and said else f"raised {type(error).__name__}: {said}"
