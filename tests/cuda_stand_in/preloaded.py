"""Building the stand-in, and running commands on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import torch

HERE = Path(__file__).parent
LIBRARY, DRIVER = "libstand_in.so", "libcuda.so.1"
CUDA = "13."  # whose runtime it is


def missing() -> str | None:
    """Return why the stand-in cannot be used here, None where it can."""
    if not sys.platform.startswith("linux"):
        return f"the stand-in for CUDA is preloaded, as Linux does: this is {sys.platform}"
    if torch.version.cuda is None:
        return "the stand-in for CUDA needs a CUDA build of torch"
    if torch.cuda.is_available():
        return "no stand-in for CUDA is needed: there is a CUDA device"
    if not torch.version.cuda.startswith(CUDA):
        return f"the stand-in is for CUDA {CUDA.rstrip('.')}, torch was built with {torch.version.cuda}"
    if shutil.which("gcc") is None:
        return "the stand-in for CUDA is built with gcc, which is not here"
    if len(headers()) < 2:
        return "the stand-in for CUDA is built with the headers of the wheels that torch requires, which are not here"
    return None


def headers() -> list[Path]:
    """Return the folders with CUDA's headers: most come with its runtime, those below `crt` with Triton."""
    site = Path(sysconfig.get_paths()["purelib"])
    found = {
        file: site / folder
        for folder, file in (
            (f"nvidia/cu{CUDA.rstrip('.')}/include", "cuda_runtime_api.h"),
            ("triton/backends/nvidia/include", "crt/host_defines.h"),
        )
    }
    return [folder for file, folder in found.items() if (folder / file).is_file()]


def build(folder: Path) -> dict[str, str]:
    """Build the stand-in, in less than a second, and return the environment in which processes see it.

    Args:
        folder: for the two libraries.

    Raises:
        subprocess.CalledProcessError: gcc refuses, and has said why on the standard error.
    """
    shared = ["gcc", "-O1", "-Wall", "-Wno-unused", "-shared", "-fPIC"]
    include = [f"-I{path}" for path in headers()]
    sources = [str(HERE / name) for name in ("runtime.c", "products.c")]
    subprocess.run([*shared, *include, *sources, "-o", str(folder / LIBRARY), "-ldl", "-lpthread"], check=True)
    subprocess.run([*shared, f"-Wl,-soname,{DRIVER}", str(HERE / "driver.c"), "-o", str(folder / DRIVER)], check=True)
    return os.environ | {
        "LD_PRELOAD": str(folder / LIBRARY),
        "LD_LIBRARY_PATH": _path(folder, os.environ.get("LD_LIBRARY_PATH")),
        "PYTHONPATH": _path(HERE / "site", os.environ.get("PYTHONPATH")),
        "TORCH_DISABLE_NATIVE_JIT": "1",  # kernels that PyTorch would compile for the device
        "KINETO_LOG_LEVEL": "99",  # the profiler asks for another library of CUDA's
    }


def _path(first: Path, others: str | None) -> str:
    return os.pathsep.join([str(first), *([others] if others else [])])


def run(environment: dict[str, str], *command: str, seconds: float = 600) -> subprocess.CompletedProcess[str]:
    """Run Python on the stand-in, and return what it printed, both outputs as one.

    Args:
        environment: from `build`.
        command: the arguments of Python.
        seconds: after which it is ended.
    """
    together = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.run([sys.executable, *command], env=environment, timeout=seconds, **together)  # type: ignore[call-overload, no-any-return]
