"""PyTorch's own threads for our kernels: a second pool beside it would fight it for the cores."""

import ctypes
import os
from collections.abc import Callable
from typing import Any

import torch

INT64, POINTER = ctypes.c_int64, ctypes.c_void_p


def _find() -> Callable[..., Any] | None:
    """Find `torch_parallel_for`, a C function of PyTorch's stable interface; None where a PyTorch does not have it."""
    try:
        function = ctypes.CDLL(torch._C.__file__).torch_parallel_for
    except (AttributeError, OSError):
        return None
    function.argtypes = [INT64, INT64, INT64, POINTER, POINTER]  # begin, end, least of a thread; function, its argument
    function.restype = ctypes.c_int32
    return function


_parallel_for = _find()


def _in_child() -> None:
    """A forked child has this thread alone: PyTorch's pool waits there for threads that are gone."""
    global _parallel_for
    _parallel_for = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def _give_way() -> int:
    library, name = ("kernel32", "SwitchToThread") if os.name == "nt" else (None, "sched_yield")
    return ctypes.cast(getattr(ctypes.CDLL(library), name), POINTER).value or 0


GIVE_WAY = _give_way()  # address of the system's function that lets another thread run


def run_tasks(kernel: Any, tasks: int, parallel: bool, arguments: int) -> None:
    """Run the tasks of a kernel, in PyTorch's threads, or in this one where it has no pool that can be reached.

    Args:
        kernel: a compiled function of the first task, the one past the last and the arguments.
        tasks: how many there are.
        parallel: whether they are worth a second thread.
        arguments: the address of the arguments.
    """
    if parallel and _parallel_for is not None and _parallel_for(0, tasks, 1, kernel.address, arguments) == 0:
        return
    kernel.ctypes(0, tasks, arguments)
