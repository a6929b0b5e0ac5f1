"""The kernels in machine code: compiled at their first use, and kept on the disk for the next process.

numba keeps the code for the processor at hand, in a folder for this state of these sources: it looks itself at the one
file that a kernel is in alone. Where no folder can be written, each process compiles anew.
"""

import ctypes
import hashlib
import os
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import platformdirs
from numba import cfunc
from numba.core import config

from . import backward, forward, packing, products, weights
from .arguments import arguments, multiply_signature, signature
from .memory import CHECKED
from .threads import run_tasks

# Those of one pass are compiled together.
FORWARD = {"multiply": products.multiply, "pack": packing.pack, "forward": forward.forward}
BACKWARD = {
    "pack_backward": packing.pack_backward,
    "backward": backward.backward,
    "input_gradients": backward.input_gradients,
    "weight_gradients": weights.weight_gradients,
}
settings: Any = config  # numba's own, which it reads from its environment variables
_compiled: dict[tuple[str, str], Any] = {}
_lock = threading.Lock()


def kernel(name: str, dtype: str) -> Any:
    """Return a kernel in machine code: `address` is where it lies, `ctypes` calls it.

    Args:
        name: one of `FORWARD` or `BACKWARD`.
        dtype: float32 or float64.
    """
    found = _compiled.get((name, dtype))
    if found is None:
        with _lock:
            if (name, dtype) not in _compiled:
                _compile(FORWARD if name in FORWARD else BACKWARD, dtype)
        found = _compiled[name, dtype]
    return found


def run(name: str, tasks: int, parallel: bool, given: Any) -> None:
    """Run the tasks of a kernel.

    Args:
        name: of the kernel.
        tasks: how many.
        parallel: whether in several threads.
        given: its arguments.

    Raises:
        IndexError: it reached past an array, in a run that checks that.
    """
    run_tasks(kernel(name, given.name), tasks, parallel, ctypes.addressof(given))
    if CHECKED and given.failed:
        raise IndexError(f"the kernel {name} reached past an array")


def _compile(kernels: dict[str, Any], dtype: str) -> None:
    """Compile some kernels, or load them from the disk; say so where it takes seconds."""
    folder = kept_in()
    new = folder is None or not any(folder.rglob(f"*.{list(kernels)[-1]}-*.nbi"))
    start = time.perf_counter()
    if new:
        print(f"rnn_parity: compiling {', '.join(kernels)} in {dtype} for this processor", end="", file=sys.stderr)
        print(" ..." if folder is None else ", once ...", end=" ", file=sys.stderr, flush=True)
    before = settings.CACHE_DIR, settings.OPT
    # What LLVM does at a higher level takes a quarter more time, and is of no use to code that says its vectors.
    settings.CACHE_DIR, settings.OPT = str(folder or ""), type(settings.OPT)(1)
    try:
        for name, function in kernels.items():
            _compiled[name, dtype] = _in_machine_code(function, dtype, keep=folder is not None)
    finally:
        settings.CACHE_DIR, settings.OPT = before
    if new:
        print(f"{time.perf_counter() - start:.1f} s", file=sys.stderr)


def _in_machine_code(function: Any, dtype: str, keep: bool) -> Any:
    if function is products.multiply:
        kind = multiply_signature(dtype)
        return cfunc(kind, error_model="numpy", cache=keep)(function)
    if not CHECKED:
        return cfunc(signature(dtype), error_model="numpy", cache=keep)(function.py_func)

    def checked(first_task: Any, last_task: Any, pointer: Any) -> None:
        try:
            function(first_task, last_task, pointer)
        except Exception:
            arguments(pointer).failed = 1

    return cfunc(signature(dtype), error_model="numpy")(checked)


@cache
def kept_in() -> Path | None:
    """The folder for code of these sources and this processor; None where there is none, or indices are checked."""
    if CHECKED:
        return None
    processor = settings.CPU_NAME, settings.CPU_FEATURES  # where numba is told it
    if settings.CPU_NAME is None:
        processor = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    sources = hashlib.sha256(repr((numba.__version__, processor)).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sources.update(path.read_bytes())
    folder = Path(settings.CACHE_DIR or platformdirs.user_cache_dir("rnn-parity")) / sources.hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
