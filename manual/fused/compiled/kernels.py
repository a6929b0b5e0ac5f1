"""The kernels in machine code: compiled at their first use, and kept on the disk for the next process."""

import ctypes
import threading
import time
from typing import Any

from numba import cfunc

from . import packing, walk, weights
from .arguments import signature

KERNELS = {
    "pack": packing.pack,
    "forward": walk.forward,
    "pack_backward": packing.pack_backward,
    "backward": walk.backward,
    "input_gradients": walk.input_gradients,
    "weight_gradients": weights.weight_gradients,
}
_compiled: dict[tuple[str, str], Any] = {}
_lock = threading.Lock()


def kernel(name: str, dtype: str) -> Any:
    """Return a kernel for float32 or float64: a function of ctypes, of the first task, the last and the arguments."""
    found = _compiled.get((name, dtype))
    if found is None:
        with _lock:
            found = cfunc(signature(dtype), error_model="numpy")(KERNELS[name].py_func)
            _compiled[name, dtype] = found
    return found
