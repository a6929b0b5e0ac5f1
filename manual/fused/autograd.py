"""A call of an engine as one operation of autograd."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..layers import under_autocast
from .call import Call, Engine, Passes
from .readable import Readable, must_be_readable, readable_gradients


def run(engine: Engine, call: Call) -> Sequence[Tensor]:
    """Return output, as the data, and the final states, as the initial ones, differentiable where asked for."""
    passes, tensors = engine.passes(call), call.tensors
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        readable = Readable(call.make_layer, call.batch_sizes, len(call.states))
        results: Sequence[Tensor] = AllSteps.apply(passes, readable, *tensors)
    else:
        results, _ = passes.forward(tensors, keep=False)
    return results


class AllSteps(torch.autograd.Function):
    """One layer over the whole sequence, in one direction or in both."""

    @staticmethod
    def forward(ctx: Any, passes: Passes, readable: Readable, *tensors: Any) -> tuple[Tensor, ...]:
        """Compute output and final states, and save what `backward` needs."""
        results, kept = passes.forward(tensors, keep=True)
        ctx.passes, ctx.readable = passes, readable
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *kept)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """Compute the gradients; step by step under autograd where they are to be differentiated again."""
        saved = ctx.saved_tensors  # once: checkpointing computes them when they are asked for
        needs = ctx.needs_input_grad[2:]
        tensors, kept = saved[: len(needs)], saved[len(needs) :]
        if must_be_readable(cotangents):
            found: Sequence[Tensor | None] = readable_gradients(ctx.readable, tensors, needs, cotangents)
        elif under_autocast(tensors[0].device.type):
            with torch.autocast(tensors[0].device.type, enabled=False):
                found = ctx.passes.backward(tensors, kept, needs, cotangents)
        else:
            found = ctx.passes.backward(tensors, kept, needs, cotangents)
        return None, None, *found
