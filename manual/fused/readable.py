"""The same layer step by step under autograd, for gradients that no engine computes: those to be differentiated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from .call import WEIGHTS, MakeLayer


@dataclass
class Readable:
    """The same layer step by step, for gradients that are to be differentiated.

    Args:
        make_layer: makes the layer from the weights of each direction.
        batch_sizes: of packed input, None where it is padded.
        num_states: how many tensors a state is of.
    """

    make_layer: MakeLayer
    batch_sizes: Tensor | None
    num_states: int

    def __call__(self, inputs: Sequence[Any]) -> list[Tensor]:
        """Run the layer.

        Args:
            inputs: as `Call.tensors` has them.

        Returns:
            output, as the input, and the final states.
        """
        data, states, weights = inputs[0], inputs[1 : 1 + self.num_states], inputs[1 + self.num_states :]
        directions = [
            {name: w for name, w in zip(WEIGHTS, weights[first:], strict=False) if w is not None}
            for first in range(0, len(weights), len(WEIGHTS))
        ]
        input = data if self.batch_sizes is None else PackedSequence(data, self.batch_sizes)
        output, final = self.make_layer(directions)(input, states[0] if self.num_states == 1 else tuple(states))
        return [output if self.batch_sizes is None else output.data, *([final] if self.num_states == 1 else final)]


def must_be_readable(cotangents: Sequence[Tensor | None]) -> bool:
    """Whether a backward pass is left to the step function: it is itself differentiated, or runs under a transform."""
    return torch.is_grad_enabled() or not all(map(_is_plain_cotangent, cotangents))


def _is_plain_cotangent(cotangent: Tensor | None) -> bool:
    return cotangent is None or (
        type(cotangent) is Tensor
        and not torch._C._functorch.is_functorch_wrapped_tensor(cotangent)
        and not torch._C._functorch.is_legacy_batchedtensor(cotangent)  # of torch.autograd.grad(is_grads_batched=True)
    )


def readable_gradients(
    readable: Readable, inputs: Sequence[Tensor | None], needs: Sequence[bool], cotangents: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Return the gradients of input, states and weights by running the layer again, step by step under autograd.

    The layer runs on views of what it was given, so that where one of them was computed from another, the gradients
    are still those of this layer alone.
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        if create_graph:
            views = [None if t is None else t.view_as(t) for t in inputs]
        else:
            views = [t if t is None else t.detach().requires_grad_(need) for t, need in zip(inputs, needs, strict=True)]
        results = readable(views)
    asked = [(result, d) for result, d in zip(results, cotangents, strict=True) if d is not None]
    wanted = [view for view, need in zip(views, needs, strict=True) if need and view is not None]
    outputs, d_outputs = zip(*asked, strict=True)
    found = iter(torch.autograd.grad(outputs, wanted, d_outputs, create_graph=create_graph, allow_unused=True))
    return [next(found) if need else None for need in needs]
