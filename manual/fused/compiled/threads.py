"""PyTorch's own threads, for kernels of ours: a second pool beside it would fight it for the cores."""

import ctypes
from typing import Any

import torch

_library = ctypes.CDLL(torch._C.__file__)
_parallel_for = _library.torch_parallel_for
_parallel_for.argtypes = [ctypes.c_int64] * 3 + [ctypes.c_void_p] * 2


def run(kernel: Any, tasks: int, parallel: bool, arguments: int) -> None:
    """Run the tasks of a kernel, in PyTorch's threads or in this one."""
    if parallel:
        _parallel_for(0, tasks, 1, kernel.address, arguments)
    else:
        kernel.ctypes(0, tasks, arguments)
