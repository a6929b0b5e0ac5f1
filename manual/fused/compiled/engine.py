"""Hands a call to the compiled kernels."""

from functools import cache
from importlib.util import find_spec

import torch

from ..call import Call, Passes

# What is computed in, by what the tensors are stored in.
COMPUTED_IN = {
    torch.float32: torch.float32,
    torch.float64: torch.float64,
    torch.bfloat16: torch.float32,
    torch.float16: torch.float32,
}


@cache
def is_installed() -> bool:
    """Whether numba is there, which comes with `pip install rnn-parity[fast]`."""
    return find_spec("numba") is not None


class Compiled:
    """The engine of compiled kernels, for the CPU: see `Engine`."""

    def takes(self, call: Call) -> bool:
        """Whether it can compute this call: on the CPU, in a dtype that it knows, with anything to compute."""
        data = call.data
        return data.is_cpu and data.dtype in COMPUTED_IN and data.numel() > 0 and is_installed()

    def passes(self, call: Call) -> Passes:
        """Return its kernels, with the sizes and the memory of this call."""
        from .launch import walk_of  # numba is imported at the first use

        return walk_of(call, COMPUTED_IN[call.data.dtype])
