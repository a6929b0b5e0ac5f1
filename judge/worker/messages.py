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
        dialect: where it says that it differs from torch.nn.
        draws_like_builtin: whether its dropout takes its random numbers in the built-in's order.
        adapter: whether it takes its weights from a built-in.
        fault: what is wrong with it, in one line.
        loadable: False where it cannot even be unpickled in a process of its own.
    """

    name: str = ""
    unsupported: tuple[str, ...] = ()
    dialect: tuple[str, ...] = ()
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
    without: tuple[str, ...] = ()


class Fault(Exception):
    """What became of a process in place of an answer, after what it was at: "ended its process with exit status 3".

    Args:
        how: what became of it.
        costly: whether it cost a whole time limit, or memory.
    """

    def __init__(self, how: str, costly: bool = False) -> None:
        super().__init__(how)
        self.costly = costly


Answer = Declared | Outcome | Fault
