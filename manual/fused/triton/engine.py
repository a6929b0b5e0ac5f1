"""Hands a call to the Triton kernels."""

from functools import cache
from importlib.util import find_spec

import torch

from ..call import Call, Passes
from .plans import plan, shared_memory, tf32_allowed


@cache
def is_installed() -> bool:
    """Whether Triton is there, which comes with PyTorch's builds for CUDA on Linux."""
    return find_spec("triton") is not None


class Triton:
    """The engine of Triton kernels, for CUDA: see `Engine`."""

    def takes(self, call: Call) -> bool:
        """Whether it can compute this call: on CUDA, without a projection, in a size that one program can take."""
        data = call.data
        if data.device.type != "cuda" or data.numel() == 0 or "weight_hr" in call.weights[0] or not is_installed():
            return False
        tf32 = data.dtype == torch.float32 and tf32_allowed()
        return plan(call.cell, call.states[0].size(-1), data.dtype, tf32, shared_memory(data.device)) is not None

    def passes(self, call: Call) -> Passes:
        """Return its kernels, cut to the size of this call."""
        from .launch import Walk  # Triton is imported at the first use

        return Walk(call)
