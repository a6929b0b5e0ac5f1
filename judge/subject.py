"""A subject: one implementation on one device in one dtype, as the conformance tests get it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..reference.builtin import LAYERS
from .examine import Tally, Trial, examine
from .implementation import Implementation
from .verdict import ParityError

# The readable layers are judged where nothing else is named.
MANUAL = {kind: f"rnn_parity.manual:{kind.upper()}" for kind in LAYERS}


@dataclass(repr=False)
class Subject:
    """What one test judges.

    Args:
        implementation: the candidate.
        dtype: of every tensor.
        device: such as "cpu" or "cuda".
        examples: cases for each trial.
        seed: which cases.
        missing: why the device cannot be used here, None where it can.
        target: what the implementation's own process imports it from, None where there is none.
        fault: why there is nothing to judge, None where there is.
        record: what the report is told of the test.
    """

    implementation: Implementation
    dtype: torch.dtype
    device: str
    examples: int
    seed: int
    missing: str | None = None
    target: Any = None
    fault: str | None = None
    record: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return f"{self.implementation.name}-{self.kind}-{self.device}-{dtype}"

    @property
    def kind(self) -> str:
        """Which of "rnn", "gru" and "lstm" the implementation claims to be."""
        return self.implementation.kind

    @property
    def factory(self) -> Callable[..., nn.Module]:
        """The implementation's constructor."""
        return self.implementation.factory

    @property
    def builtin(self) -> type[nn.RNNBase]:
        """The class of `torch.nn` it stands beside."""
        return LAYERS[self.kind]

    def start(self, trial: Trial | None) -> None:
        """Begin the record of a test; None is a test of the interface."""
        self.record = {
            "implementation": self.implementation.name,
            "kind": self.kind,
            "device": self.device,
            "dtype": str(self.dtype).removeprefix("torch."),
            "aspect": trial.aspect if trial else "interface",
            "trial": trial.name if trial else "",
        }

    def examine(self, trial: Trial) -> None:
        """Run a trial and record what it came to.

        Raises:
            ParityError: a case failed.
        """
        __tracebackhide__ = True
        tally = Tally()
        # A fault of the equations shows in float64; the other dtypes look for faults of their own.
        examples = self.examples if self.dtype == torch.float64 else max(1, self.examples // 2)
        try:
            examine(
                trial,
                self.implementation,
                self.dtype,
                self.device,
                examples=examples,
                random_seed=self.seed,
                tally=tally,
            )
        except ParityError as error:
            self.record |= {"message": str(error), "reproducer": error.reproducer}
            raise
        finally:
            self.record |= tally.as_record()
        if tally.refused and tally.refused == tally.cases:
            self.record |= {"outcome": "unsupported", "reason": f"{tally.refusal}, as torch.nn does"}
