"""The device that a candidate computes on: waited for after each part of it, and lost where a kernel fails."""

from __future__ import annotations

import torch

_device = torch.device("cpu")
_lost: str | None = None


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


def wait() -> None:
    """Have what runs on the device end, so that what goes wrong there is seen now."""
    if _device.type == "cuda" and has_cuda():
        torch.cuda.synchronize(_device)


def loses_device(error: BaseException) -> bool:
    """Whether CUDA does not answer any more after an exception; see `lost_device`."""
    global _lost
    try:
        wait()
    except Exception:  # of a class that versions of PyTorch differ in
        _lost = _lost or f"lost the CUDA device: {type(error).__name__}: {str(error).splitlines()[0]}"
    return _lost is not None


def has_cuda() -> bool:
    """Whether CUDA is started, and not lost."""
    return _lost is None and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
