"""What users import: judge a layer in a test of one's own, or ask again for one verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..reference.spec import KINDS
from .core.candidate import (
    Implementation,
    ImplementationError,
    dtype_named,
    implementation_from,
    kind_named,
    missing_device,
    require_buildable,
)
from .core.case import Case
from .core.device import lost_device
from .core.guard import Streams
from .core.settings import generators_restored
from .core.verdict import ParityError
from .trials.schedule import DEFAULT_EXAMPLES, in_rounds
from .trials.search import JudgeError, ask, search
from .trials.table import ASPECTS, TRIALS, trial_named
from .trials.trial import Tally, Trial

__all__ = [
    "ASPECTS",
    "Case",
    "Implementation",
    "ImplementationError",
    "JudgeError",
    "ParityError",
    "assert_parity",
    "replay",
]


def replay(target: Any, aspect: str, name: str, case: Case) -> None:
    """Ask one trial for its verdict on one case, as a reproducer does.

    Args:
        target: what `implementation_from` takes.
        aspect: of the trial.
        name: of the trial.
        case: from the verdict that is replayed.

    Raises:
        ParityError: the verdict is against the implementation.
        JudgeError: there is none, by the judge's own fault.
        ValueError: the trial is asked of no case.
    """
    trial, streams = trial_named(aspect, name), Streams()
    if not isinstance(trial, Trial):
        raise ValueError(f"expected a trial that is asked of a case, got {trial}")
    for _ in range(2):  # a generator that was seeded shows when it is seeded again
        verdict = ask(trial, implementation_from(target, case.spec.kind), case, streams)
        if verdict.broken is not None:
            raise JudgeError(verdict, trial)
        if not verdict.ok:
            raise ParityError(verdict, f"{aspect}: {name}", plain=False)


def assert_parity(
    implementation: Any,
    kind: str | None = None,
    *,
    dtype: torch.dtype | str = torch.float64,
    device: str = "cpu",
    aspects: Sequence[str] | str = ASPECTS,
    examples: int = DEFAULT_EXAMPLES,
    seed: int = 0,
) -> None:
    """Judge an implementation, for use in anyone's own tests.

    Args:
        implementation: a layer class with the constructor of `torch.nn`'s, a factory, an adapter, an
            `Implementation`, or MODULE:ATTRIBUTE that names one.
        kind: "rnn", "gru" or "lstm"; where it is not told, that which the name of the layer holds.
        dtype: of every tensor; faults of the equations show in float64.
        device: "cpu" or "cuda".
        aspects: which of `ASPECTS` to judge.
        examples: cases for each trial of an aspect.
        seed: which cases.

    Raises:
        ParityError: an AssertionError with the worst tensor, its error and bound, and a reproducer.
        JudgeError: the judge itself fails.
        ImplementationError: the implementation does not import or build.
        ValueError: an unknown kind, or none that the name tells; an unknown dtype, device or aspect; a device that is
            not there; or nothing of what is asked is supported.
    """
    __tracebackhide__ = True
    kind = kind or getattr(implementation, "kind", None) or kind_named(_name_of(implementation))
    if kind is None:
        raise ValueError(
            f"expected kind to be one of {', '.join(KINDS)}: the name {_name_of(implementation)!r} does not tell"
        )
    judged = implementation_from(implementation, kind)
    dtype = dtype_named(str(dtype).removeprefix("torch."))
    aspects = [aspects] if isinstance(aspects, str) else aspects
    if examples < 1:
        raise ValueError(f"examples must be at least 1, got {examples}")
    missing = missing_device(device)
    if missing is None and lost_device() is not None and torch.device(device).type == "cuda":
        missing = f"no device {device}: a layer judged before in this process {lost_device()}"
    if missing is not None:
        raise ValueError(missing)
    unknown = set(aspects) - set(ASPECTS)
    if unknown:
        raise ValueError(f"aspects must be among {', '.join(ASPECTS)}, got {', '.join(sorted(unknown))}")
    trials = [
        trial
        for trial in TRIALS
        if trial.aspect in aspects
        and trial.applies_to(judged, dtype, device)
        and not trial.unsupported(judged, dtype, device)
    ]
    if not trials:
        raise ValueError(f"{judged.name} declares everything that was asked unsupported: {', '.join(aspects)}")
    if torch.device(device).type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]  # else its generators are not there yet to be put back
    tally = Tally()
    with generators_restored():
        require_buildable(judged, device, dtype)
        for trial, plan in in_rounds(trials, judged, dtype, examples, seed):
            search(trial, judged, dtype, device, plan, tally)


def _name_of(implementation: Any) -> str:
    if isinstance(implementation, str):
        return implementation.rpartition(":")[2]
    return str(getattr(implementation, "__name__", ""))
