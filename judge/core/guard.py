"""Around each part of a layer: who computes, what it raises, and what it must leave as it found it.

Whoever watches from outside is told of each case and each part that begins (`listen`), so that time and memory are
those of the candidate alone, and what goes wrong is said of whoever did it.
"""

from __future__ import annotations

import itertools
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .candidate import is_of_adapter
from .device import loses_device, lost_device, wait
from .misbehaviour import Ended, OfAdapter, Raised, SettingChanged
from .settings import generators_restored, put_back, settings

# Who computes.
CANDIDATE, BUILTIN, JUDGE = "the candidate", "torch.nn", "the judge"

_listeners: list[Callable[[Any], object]] = []
_computing = CANDIDATE


def listen(listener: Callable[[Any], object]) -> None:
    """Tell the listener from now on of every case that begins, and of every stage, a pair of who and what."""
    _listeners.append(listener)


def begins(what: Any) -> None:
    """Say that a case, or a stage, begins."""
    for listener in _listeners:
        listener(what)


@contextmanager
def on_behalf_of(who: str) -> Iterator[None]:
    """Lay what is watched in here to somebody else's account than the candidate's."""
    global _computing
    before, _computing = _computing, who
    try:
        yield
    finally:
        _computing = before


@contextmanager
def watched(stage: str) -> Iterator[None]:
    """Run a part of a layer: an exception is misbehaviour, and so is a setting of PyTorch's left changed."""
    begins((_computing, stage))
    before = settings()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
            wait()
    except (Exception, SystemExit) as error:  # of another, whoever listens is to know whose it is
        begins((JUDGE, "comparing"))
        if loses_device(error):
            raise Ended(stage, str(lost_device())) from error
        raised = OfAdapter if is_of_adapter(error) else Raised
        raise raised(stage, type(error).__name__, " ".join(str(error).split())) from error
    finally:
        after = put_back(before)
    begins((JUDGE, "comparing"))
    for name, value in before.items():
        if after[name] != value and None not in (after[name], value):
            raise SettingChanged(stage, name, value, after[name])


_streams = itertools.count(2**40)  # seeds that nobody else takes


class Streams:
    """The global generators, while case after case is judged; elsewhere they stay as they were.

    Python's and NumPy's run on from case to case and from trial to trial: Hypothesis seeds them for each case, which
    would hide a random fault. PyTorch's begin each case from seeds of their own. To draw from one is a layer's right,
    to seed it is not. PyTorch tells its seeds, settings like the others; the other two are seen to be where an earlier
    case left them.
    """

    states = (random.Random(0).getstate(), np.random.RandomState(0).get_state())  # of all: no trial draws another's

    def __init__(self) -> None:
        self.left: set[tuple[str, int]] = set()
        self.reseeded: str | None = None

    @contextmanager
    def case(self) -> Iterator[None]:
        """Run a case; `reseeded` then names the generator that was seeded, if any."""
        before = _states()
        _set_states(Streams.states)
        with generators_restored() as of_torch:
            for generator in of_torch:
                generator.manual_seed(next(_streams))
            # One step on, so that no case begins where another ended.
            random.random(), np.random.random()
            begun = _fingerprints(_states())
            try:
                yield
            finally:
                Streams.states = _states()
                ended = _fingerprints(Streams.states)
                self.reseeded = next((name for name, _ in (ended - begun) & self.left), None)
                self.left |= ended - begun
                _set_states(before)


def _states() -> tuple[Any, Any]:
    return random.getstate(), np.random.get_state()


def _set_states(states: tuple[Any, Any]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])


def _fingerprints(states: tuple[Any, Any]) -> set[tuple[str, int]]:
    of_python, (_, words, position, *_) = states
    return {("Python's", hash(of_python)), ("NumPy's", hash((words.tobytes(), position)))}
