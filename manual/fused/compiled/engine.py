"""Hands a call to the compiled kernels."""

from collections.abc import Sequence

from torch import Tensor

from ..call import Call


class Compiled:
    """The engine of compiled kernels: see `Engine`."""

    def takes(self, call: Call) -> bool:
        """Whether it can compute this call."""
        return False

    def run(self, call: Call) -> Sequence[Tensor]:
        """Return output and final states."""
        raise NotImplementedError
