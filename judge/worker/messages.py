"""What is said between pytest and the process of a candidate."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..trials.trial import Outcome

# Where a candidate comes from: its kind and MODULE:ATTRIBUTE, or a pickled `Implementation`.
Target = tuple[str, str | bytes]


@dataclass(frozen=True)
class Probe:
    """Ask what a candidate declares, and have the smallest layer built in the first of the places it supports."""

    target: Target
    places: tuple[tuple[str, torch.dtype], ...]


@dataclass(frozen=True)
class Declared:
    """What a candidate says of itself, or why it cannot be judged.

    Args:
        name: how reports call it.
        unsupported: what it declares unsupported.
        draws_like_builtin: whether its dropout takes its random numbers in the built-in's order.
        adapter: whether it takes its weights from a built-in.
        fault: what is wrong with it, in one line.
        loadable: False where it cannot even be unpickled in a process of its own.
    """

    name: str = ""
    unsupported: tuple[str, ...] = ()
    draws_like_builtin: bool = False
    adapter: bool = False
    fault: str | None = None
    loadable: bool = True


@dataclass(frozen=True)
class Run:
    """Ask the trial of that aspect and name about a candidate."""

    target: Target
    aspect: str
    trial: str
    dtype: torch.dtype
    device: str
    examples: int
    seed: int


@dataclass(frozen=True)
class Answer:
    """What came of a request.

    Args:
        value: what was asked for.
        fault: what the candidate did to its process, where that survived it.
    """

    value: Declared | Outcome | None
    fault: str | None = None
