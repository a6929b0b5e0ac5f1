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
from .misbehaviour import Ended, OfAdapter, Raised, SettingChanged

# Who computes.
CANDIDATE, BUILTIN, JUDGE = "the candidate", "torch.nn", "the judge"

_listeners: list[Callable[[Any], object]] = []
_computing = CANDIDATE
_device = torch.device("cpu")
_lost: str | None = None


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


def computes_on(device: str) -> None:
    """Say where a candidate computes from now on: whatever it leaves running there is waited for."""
    global _device
    _device = torch.device(device)


def lost_device() -> str | None:
    """Return what a kernel did that took CUDA from this process for good, None where none did.

    Such a failure, an assertion in a kernel or an access to memory that is not its own, shows at the next wait for the
    device, whoever waits, and at every later call.
    """
    return _lost


def _wait() -> None:
    """Have what runs on the device end, so that what goes wrong there is seen now."""
    if _device.type == "cuda" and _is_there():
        torch.cuda.synchronize(_device)


def loses_device(error: BaseException) -> bool:
    """Whether CUDA does not answer any more after an exception; see `lost_device`."""
    global _lost
    try:
        _wait()
    except Exception:  # of a class that versions of PyTorch differ in
        _lost = _lost or f"lost the CUDA device: {type(error).__name__}: {str(error).splitlines()[0]}"
    return _lost is not None


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


def _of_cudnn(name: str) -> tuple[Callable[[], Any], Callable[[Any], None]]:
    """Return what gets and what sets an attribute of `torch.backends.cudnn`."""
    return lambda: getattr(torch.backends.cudnn, name), lambda value: setattr(torch.backends.cudnn, name, value)


def _tf32_in_cudnn() -> bool | str:
    try:
        return torch.backends.cudnn.allow_tf32
    except RuntimeError:  # as `_precision`
        return "mixed"


def _set_tf32_in_cudnn(allowed: bool | str) -> None:
    if allowed != "mixed":
        torch.backends.cudnn.allow_tf32 = bool(allowed)


def _once_started(get: Callable[[], Any]) -> Callable[[], Any]:
    """Return what gets a setting of CUDA's, None where CUDA is not started, which a look would do, or lost."""
    return lambda: get() if _is_there() else None


def _is_there() -> bool:
    return _lost is None and torch.cuda.is_initialized()


def generators() -> tuple[torch.Generator, ...]:
    """Return CUDA's global random generators, none where CUDA is not started or lost."""
    return torch.cuda.default_generators if _is_there() else ()


def _cuda_seeds() -> tuple[int, ...]:
    return tuple(generator.initial_seed() for generator in generators())


def _set_cuda_seeds(seeds: tuple[int, ...]) -> None:
    for generator, seed in zip(generators(), seeds, strict=True):
        generator.manual_seed(seed)


SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "inference mode": (torch.is_inference_mode_enabled, _inference_mode),
    "gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "default device": (lambda: torch.empty(0).device, _default_device),
    "number of threads": (torch.get_num_threads, torch.set_num_threads),
    "random seed": (torch.initial_seed, torch.default_generator.manual_seed),
    "deterministic mode": (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    "use of TF32 in cuDNN": (_tf32_in_cudnn, _set_tf32_in_cudnn),
    "float32 matmul precision": (_precision, _set_precision),
    "precision of float32 products": (_precisions, _set_precisions),
    "anomaly mode": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "autocast": (_autocast, _set_autocast),
    "use of cuDNN": _of_cudnn("enabled"),
    "use of cuDNN's benchmark": _of_cudnn("benchmark"),
    "CUDA random seeds": (_once_started(_cuda_seeds), _set_cuda_seeds),
    "current CUDA device": (_once_started(torch.cuda.current_device), torch.cuda.set_device),
    "current CUDA stream": (_once_started(torch.cuda.current_stream), torch.cuda.set_stream),
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
            if (now := get()) != before[name] and None not in (now, before[name]):
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
                _wait()
        except (Exception, SystemExit) as error:  # of another, whoever listens is to know whose it is
            begins((JUDGE, "comparing"))
            if loses_device(error):
                raise Ended(stage, str(_lost)) from error
            raised = OfAdapter if is_of_adapter(error) else Raised
            raise raised(stage, type(error).__name__, " ".join(str(error).split())) from error
        begins((JUDGE, "comparing"))
        after = settings()
    for name, value in before.items():
        if after[name] != value and None not in (after[name], value):
            raise SettingChanged(stage, name, value, after[name])


_streams = itertools.count(2**40)  # seeds that nobody else takes


@contextmanager
def generators_restored() -> Iterator[tuple[torch.Generator, ...]]:
    """Put PyTorch's global random generators back at the end, and yield them."""
    found = (torch.default_generator, *generators())
    states = [generator.get_state() for generator in found]
    try:
        yield found
    finally:
        for generator, state in zip(found, states, strict=True):
            if generator is torch.default_generator or _is_there():
                generator.set_state(state)


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
            begun = _fingerprints()
            try:
                yield
            finally:
                ended = _fingerprints()
                self.reseeded = next((name for name, _ in (ended - begun) & self.left), None)
                self.left |= ended - begun
                Streams.states = _states()
                _set_states(before)


def _states() -> tuple[Any, Any]:
    return random.getstate(), np.random.get_state()


def _set_states(states: tuple[Any, Any]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])


def _fingerprints() -> set[tuple[str, int]]:
    of_python, (_, words, position, *_) = _states()
    return {("Python's", hash(of_python)), ("NumPy's", hash((words.tobytes(), position)))}
