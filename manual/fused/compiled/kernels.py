"""The kernels in machine code: compiled at their first use, and kept on the disk for the next process."""

import ctypes
import threading
import time
from typing import Any

from numba import cfunc, types

from . import packing, products, walk, weights
from .arguments import NUMBERS, signature

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
            if name == "multiply":
                kind, function = types.void(types.CPointer(NUMBERS[dtype]), *[types.int64] * 16), products.multiply
            else:
                kind, function = signature(dtype), KERNELS[name].py_func
            found = cfunc(kind, error_model="numpy")(function)
            _compiled[name, dtype] = found
    return found
