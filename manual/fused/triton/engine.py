"""Hands a call to the Triton kernels, and its gradients to autograd."""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from ..call import Call, tracks_gradients
from ..readable import Readable, must_be_readable, readable_gradients
from .plans import fits, plan, tf32_allowed

WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


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
        return fits(plan(call.cell, call.states[0].size(-1), data.dtype, tf32), data.device)

    def run(self, call: Call) -> Sequence[Tensor]:
        """Return output and final states."""
        weights: list[Any] = [of_direction.get(name) for of_direction in call.weights for name in WEIGHTS]
        if tracks_gradients(call):
            readable = Readable(call.make_layer, call.batch_sizes, len(call.states), WEIGHTS)
            results: Sequence[Tensor] = TritonRecurrence.apply(call.cell, readable, call.data, *call.states, *weights)
            return results
        from . import launch  # Triton is imported at the first use

        tensors = [call.data, *call.states, *weights]
        with torch.no_grad():
            results, _ = launch.forward(launch.Walk(call.cell, call.batch_sizes, tensors), tensors, keep=False)
        return results


class TritonRecurrence(torch.autograd.Function):
    """One layer over the whole sequence, in one direction or in both."""

    @staticmethod
    def forward(ctx: Any, cell: str, readable: Readable, *inputs: Any) -> tuple[Tensor, ...]:
        """Compute output and final states, and save what `backward` needs."""
        from . import launch

        walk = launch.Walk(cell, readable.batch_sizes, inputs)
        results, kept = launch.forward(walk, inputs, keep=True)
        ctx.readable, ctx.walk = readable, walk
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, kept)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """Compute the gradients; step by step under autograd where they are to be differentiated again."""
        from . import launch

        *inputs, kept = ctx.saved_tensors
        needs = ctx.needs_input_grad[2:]
        if must_be_readable(cotangents):
            return None, None, *readable_gradients(ctx.readable, inputs, needs, cotangents)
        with torch.autocast(kept.device.type, enabled=False):
            return None, None, *launch.backward(ctx.walk, inputs, kept, needs, cotangents)
