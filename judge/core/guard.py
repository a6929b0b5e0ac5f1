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
import torch

from .candidate import is_of_adapter
from .misbehaviour import OfAdapter, Raised, SettingChanged

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


def _default_device(device: torch.device) -> None:
    # A default device of "cpu" is a mode that every call goes through; None is none.
    torch.set_default_device(None if device.type == "cpu" else device)


def _precision() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # of two interfaces, PyTorch reads none where they disagree
        return "mixed"


def _set_precision(precision: str) -> None:
    if precision != "mixed":
        torch.set_float32_matmul_precision(precision)


def _of_backends(backends: Any) -> tuple[Any, ...]:
    return backends.mkldnn.matmul, backends.mkldnn.rnn, backends.cuda.matmul, backends.cudnn.rnn


_PRODUCTS = _of_backends(torch.backends)  # who has a precision for float32 products


def _precisions() -> tuple[str, ...]:
    return tuple(owner.fp32_precision for owner in _PRODUCTS)


def _set_precisions(precisions: tuple[str, ...]) -> None:
    for owner, precision in zip(_PRODUCTS, precisions, strict=True):
        if owner.fp32_precision != precision:
            owner.fp32_precision = precision


_left: list[Any] = []  # an inference mode is left by entering its opposite, and comes back when that is forgotten


def _inference_mode(mode: bool) -> None:
    guard = torch.inference_mode(mode)
    guard.__enter__()
    _left.append(guard)


def _autocast() -> tuple[bool, bool]:
    return torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")


def _set_autocast(enabled: tuple[bool, bool]) -> None:
    for device, value in zip(("cpu", "cuda"), enabled, strict=True):
        torch.set_autocast_enabled(device, value)


def _set_cudnn(enabled: bool) -> None:
    torch.backends.cudnn.enabled = enabled


SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "inference mode": (torch.is_inference_mode_enabled, _inference_mode),
    "gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "default device": (lambda: torch.empty(0).device, _default_device),
    "number of threads": (torch.get_num_threads, torch.set_num_threads),
    "random seed": (torch.initial_seed, torch.default_generator.manual_seed),
    "deterministic mode": (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    "float32 matmul precision": (_precision, _set_precision),
    "precision of float32 products": (_precisions, _set_precisions),
    "anomaly mode": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "autocast": (_autocast, _set_autocast),
    "use of cuDNN": (lambda: torch.backends.cudnn.enabled, _set_cudnn),
}


def settings() -> dict[str, Any]:
    """Return PyTorch's settings by name."""
    return {name: get() for name, (get, _) in SETTINGS.items()}


@contextmanager
def restored() -> Iterator[dict[str, Any]]:
    """Put PyTorch's settings back at the end, and yield what they are at the start."""
    before = settings()
    try:
        yield before
    finally:
        for name, (get, restore) in SETTINGS.items():
            if get() != before[name]:
                restore(before[name])


@contextmanager
def watched(stage: str) -> Iterator[None]:
    """Run a part of a layer: an exception is misbehaviour, and so is a setting of PyTorch's left changed."""
    begins((_computing, stage))
    with restored() as before:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except (Exception, SystemExit) as error:  # of another, whoever listens is to know whose it is
            begins((JUDGE, "comparing"))
            raised = OfAdapter if is_of_adapter(error) else Raised
            raise raised(stage, type(error).__name__, " ".join(str(error).split())) from error
        begins((JUDGE, "comparing"))
        after = settings()
    for name, value in before.items():
        if after[name] != value:
            raise SettingChanged(stage, name, value, after[name])


_streams = itertools.count(2**40)  # seeds that nobody else takes


class Streams:
    """The global generators, while case after case is judged; elsewhere they stay as they were.

    Python's and NumPy's run on from case to case and from trial to trial: Hypothesis seeds them for each case, which
    would hide a random fault. PyTorch's begins each case from a seed of its own. To draw from one is a layer's right,
    to seed it is not. PyTorch tells its seed, a setting like the others; the other two are seen to be where an earlier
    case left them.
    """

    states = (random.Random(0).getstate(), np.random.RandomState(0).get_state())  # of all: no trial draws another's

    def __init__(self) -> None:
        self.left: set[tuple[str, int]] = set()
        self.reseeded: str | None = None

    @contextmanager
    def case(self) -> Iterator[None]:
        """Run a case; `reseeded` then names the generator that was seeded, if any."""
        before, of_torch = _states(), torch.get_rng_state()
        _set_states(Streams.states)
        torch.default_generator.manual_seed(next(_streams))
        # One step on, so that no case begins where another ended.
        random.random(), np.random.random()
        begun = _fingerprints()
        try:
            yield
        finally:
            ended = _fingerprints()
            self.reseeded = next((name for name, _ in (ended - begun) & self.left), None)
            self.left |= ended - begun
            Streams.states = _states()
            _set_states(before)
            torch.set_rng_state(of_torch)


def _states() -> tuple[Any, Any]:
    return random.getstate(), np.random.get_state()


def _set_states(states: tuple[Any, Any]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])


def _fingerprints() -> set[tuple[str, int]]:
    of_python, (_, words, position, *_) = _states()
    return {("Python's", hash(of_python)), ("NumPy's", hash((words.tobytes(), position)))}
