"""PyTorch's settings and its global random generators: what a layer must leave as it found it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .device import has_cuda


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
    return lambda: get() if has_cuda() else None


def generators() -> tuple[torch.Generator, ...]:
    """Return CUDA's global random generators, none where CUDA is not started or lost."""
    return torch.cuda.default_generators if has_cuda() else ()


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
        put_back(before)


def put_back(before: dict[str, Any]) -> dict[str, Any]:
    """Put PyTorch's settings back to what they were, and return what they had become."""
    after = settings()
    if after != before:
        for name, (get, restore) in SETTINGS.items():
            if (now := get()) != before[name] and None not in (now, before[name]):
                restore(before[name])
    return after


def seed_generators(seed: int, device: str) -> None:
    """Seed the global generators, as `torch.manual_seed` does, which takes its time for devices that are not there."""
    seed_them = torch.default_generator.manual_seed if device == "cpu" else torch.manual_seed
    seed_them(seed)


@contextmanager
def generators_restored() -> Iterator[tuple[torch.Generator, ...]]:
    """Put PyTorch's global random generators back at the end, and yield them."""
    found = (torch.default_generator, *generators())
    states = [generator.get_state() for generator in found]
    try:
        yield found
    finally:
        for generator, state in zip(found, states, strict=True):
            if generator is torch.default_generator or has_cuda():
                generator.set_state(state)
