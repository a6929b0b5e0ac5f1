"""What the stand-in counts, and what it can be told, from within a process that runs on it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple


class Counts(NamedTuple):
    """What was asked of the device.

    Args:
        kernels: launched.
        products: of cuBLAS.
        to_device: copies from the host's memory.
        to_host: copies into it.
        on_device: copies from the device's memory to the device's.
        waits: of the host for the device.
        graphs: replayed.
    """

    kernels: int
    products: int
    to_device: int
    to_host: int
    on_device: int
    waits: int
    graphs: int


def counted(call: Callable[[], Any]) -> tuple[Counts, Any]:
    """Return what a call asks of the device, and what it returns."""
    counts = (ctypes.c_long * len(Counts._fields)).in_dll(ctypes.CDLL(None), "stand_in_counts")
    before = list(counts)
    returned = call()
    return Counts(*(now - then for now, then in zip(counts, before, strict=True))), returned


def next_kernel_fails() -> None:
    """Have the next kernel fail as a device-side assert does: seen at the next wait, and for good."""
    ctypes.c_int.in_dll(ctypes.CDLL(None), "stand_in_asserts").value = 1
