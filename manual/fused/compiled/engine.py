"""Hands a call to the compiled kernels, and its gradients to autograd."""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from ..call import Call, tracks_gradients
from ..readable import Readable, must_be_readable, readable_gradients

WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
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

    def run(self, call: Call) -> Sequence[Tensor]:
        """Return output and final states."""
        weights: list[Any] = [of_direction.get(name) for of_direction in call.weights for name in WEIGHTS]
        if tracks_gradients(call):
            readable = Readable(call.make_layer, call.batch_sizes, len(call.states), WEIGHTS)
            results: Sequence[Tensor] = CompiledRecurrence.apply(call.cell, readable, call.data, *call.states, *weights)
            return results
        from . import launch  # numba is imported at the first use

        with torch.no_grad():
            tensors = prepared([call.data, *call.states, *weights], COMPUTED_IN[call.data.dtype])
        setup = launch.setup_of(call.cell, call.batch_sizes, tensors, len(call.states))
        results, _ = launch.forward(setup, tensors, keep=False)
        return stored(results, call.data.dtype)


def prepared(tensors: Sequence[Any], dtype: torch.dtype) -> Any:
    """Return tensors, None among them, as kernels take them: contiguous, in the dtype that is computed in."""
    return [t if t is None or _is_prepared(t, dtype) else t.resolve_neg().to(dtype).contiguous() for t in tensors]


def _is_prepared(tensor: Tensor, dtype: torch.dtype) -> bool:
    return tensor.dtype == dtype and tensor.is_contiguous() and not tensor.is_neg()


def stored(tensors: Sequence[Any], dtype: torch.dtype) -> list[Any]:
    """Return results, None among them, in the dtype of what was given."""
    return [t if t is None or t.dtype == dtype else t.to(dtype) for t in tensors]


class CompiledRecurrence(torch.autograd.Function):
    """One layer over the whole sequence, in one direction or in both."""

    @staticmethod
    def forward(ctx: Any, cell: str, readable: Readable, *inputs: Any) -> tuple[Tensor, ...]:
        """Compute output and final states, and save what `backward` needs."""
        from . import launch

        tensors = prepared(inputs, COMPUTED_IN[inputs[0].dtype])
        setup = launch.setup_of(cell, readable.batch_sizes, tensors, readable.num_states)
        results, kept = launch.forward(setup, tensors, keep=True)
        ctx.readable, ctx.setup = readable, setup
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, *kept)
        return tuple(stored(results, inputs[0].dtype))

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """Compute the gradients; step by step under autograd where they are to be differentiated again."""
        from . import launch

        *inputs, h, kept = ctx.saved_tensors
        needs = ctx.needs_input_grad[2:]
        if must_be_readable(cotangents):
            return None, None, *readable_gradients(ctx.readable, inputs, needs, cotangents)
        tensors, cotangents = prepared(inputs, h.dtype), prepared(cotangents, h.dtype)
        found = launch.backward(ctx.setup, tensors, (h, kept), needs, cotangents)
        return None, None, *stored(found, inputs[0].dtype)
