"""How far a trial is: the case and the part of the layer that begin, told to whoever watches from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_listeners: list[Callable[[Any], object]] = []


def listen(listener: Callable[[Any], object]) -> None:
    """Tell the listener of every case and every stage from now on."""
    _listeners.append(listener)


def begins(what: Any) -> None:
    """Say that a case, or a stage by its name, begins."""
    for listener in _listeners:
        listener(what)
