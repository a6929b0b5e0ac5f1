"""The tanh of a step, by way of the sigmoid where that is faster: tanh(a) = 2 sigmoid(2 a) - 1.

On the CPU PyTorch leaves the tanh of float32 and float64 to MKL, which takes three to six times as long for an element
as PyTorch's own sigmoid. The factor of 2 goes into the weights, which changes no digit of the products. The error of
the result is a rounding of 1, not of tanh(a): larger than that of tanh itself where a is small.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

LEAST = 1024  # elements: where a step has fewer, one operation more costs more than it saves


def by_sigmoid(state: Tensor) -> bool:
    """Return whether the sigmoid is the faster way, for a state (batch, hidden) like this one."""
    on_cpu = state.device.type == "cpu" and state.dtype in (torch.float32, torch.float64)
    return on_cpu and state.numel() >= LEAST


def doubled(weights: Sequence[Tensor | None], rows: slice) -> list[Tensor | None]:
    """Return weights and biases with some rows doubled, None for one that is absent."""
    copies = [None if weight is None else weight.clone() for weight in weights]
    for copy in copies:
        if copy is not None:
            copy[rows] *= 2
    return copies


class FromSigmoid:
    """2 s - 1 in one operation.

    Args:
        like: any tensor of the dtype and device of s.
    """

    def __init__(self, like: Tensor) -> None:
        self._minus_one = like.new_full((), -1.0)

    def __call__(self, s: Tensor, out: Tensor) -> Tensor:
        """Write 2 s - 1 to `out`, which may be s itself."""
        return torch.add(self._minus_one, s, alpha=2, out=out)
