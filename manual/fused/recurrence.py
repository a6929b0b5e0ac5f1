"""A recurrence over all steps as one operation of autograd, its backward pass written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from .steps import Steps

# (input, *initial states, *weights) -> [output, *final states], step by step under autograd.
Readable: TypeAlias = Callable[[Sequence[Any]], list[Tensor]]


@runtime_checkable
class Recurrence(Protocol):
    """What a kind of layer computes over all steps in one direction, forward and backward."""

    def forward(
        self,
        steps: Steps,
        x: Float[Tensor, "rows input"],
        initial: Sequence[Float[Tensor, "batch hidden"]],
        h: Float[Tensor, "rows hidden"],
        weights: Sequence[Any],
        save: bool,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Compute the hidden states of all steps.

        Args:
            steps: which rows belong to which step.
            x: input of all steps.
            initial: h_0, and c_0 for the LSTM.
            h: the hidden states of all steps, to be filled.
            weights: weight_ih, weight_hh, bias_ih, bias_hh.
            save: whether a backward pass may follow.

        Returns:
            what the final state has beside h_n.
            what the backward pass needs beside h, nothing unless `save`.
        """
        ...

    def backward(
        self,
        steps: Steps,
        saved: Sequence[Tensor],
        h: Float[Tensor, "all_rows hidden"],
        dh: Float[Tensor, "all_rows hidden"],
        d_final: Sequence[Float[Tensor, "batch hidden"] | None],
        weight_hh: Float[Tensor, "gates*hidden hidden"],
    ) -> tuple[list[Tensor], Float[Tensor, "rows gates*hidden"], Float[Tensor, "rows hidden"] | None]:
        """Carry the gradients from the last step to the first.

        Args:
            steps: which rows belong to which step.
            saved: what `forward` saved.
            h: h_0, and below it the hidden states of all steps.
            dh: gradients of h from outside the recurrence, to which those from within are added in place.
            d_final: gradients of what the final state has beside h_n.
            weight_hh: recurrent weights.

        Returns:
            the gradients of what the initial state has beside h_0.
            D, the gradients of W_hh h_prev + b_hh.
            what stands in place of the last gate's columns of D in the gradients of W_ih x + b_ih, None for the same.
        """
        ...


class FusedRecurrence(torch.autograd.Function):
    """One layer in one direction over the whole sequence.

    Let D be the gradients of W_hh h_prev + b_hh at all steps, one row for each step of each sequence, and D' those
    of W_ih x + b_ih. Backpropagation through time ends in one product over all steps for each weight:

    dL/dW_hh = D^T h_prev      dL/db_hh = sum of the rows of D
    dL/dW_ih = D'^T x          dL/db_ih = sum of the rows of D'      dL/dx = D' W_ih

    How D at one step comes from D at the next is the kind's: see `Recurrence.backward`.
    """

    @staticmethod
    def forward(
        ctx: Any, recurrence: Recurrence, readable: Readable, steps: Steps, input: Tensor, *tensors: Any
    ) -> tuple[Tensor, ...]:
        """Compute output and final states, and save what `backward` needs."""
        initial, weights = tensors[:-4], tensors[-4:]
        whole = steps.room_after(initial[0])
        h_0, h = whole[: steps.batch], whole[steps.batch :]
        x = input.reshape(steps.rows, input.size(-1))
        finals, saved = recurrence.forward(steps, x, (h_0, *initial[1:]), h, weights, save=True)
        ctx.recurrence, ctx.readable, ctx.steps, ctx.states = recurrence, readable, steps, len(initial)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(input, *tensors, whole, *saved)
        # A copy: whoever changes the output in place changes nothing that `backward` reads.
        output = h.view(*input.shape[:-1], h.size(1)).clone()
        return output, steps.last(h), *finals

    @staticmethod
    def backward(ctx: Any, d_output: Tensor | None, *d_final: Tensor | None) -> tuple[Tensor | None, ...]:
        """Compute the gradients; step by step under autograd where they are to be differentiated again."""
        tensors = ctx.saved_tensors  # once: checkpointing computes them when they are asked for
        inputs, (h, *saved) = tensors[: 5 + ctx.states], tensors[5 + ctx.states :]
        needs = ctx.needs_input_grad[3:]
        if torch.is_grad_enabled() or not all(map(_is_plain, (d_output, *d_final))):
            found = readable_gradients(ctx.readable, inputs, needs, (d_output, *d_final))
        elif under_autocast(h.device.type):
            with torch.autocast(h.device.type, enabled=False):
                found = _gradients(ctx, inputs, h, saved, needs, d_output, d_final)
        else:
            found = _gradients(ctx, inputs, h, saved, needs, d_output, d_final)
        return None, None, None, *found


def run(recurrence: Recurrence, steps: Steps, input: Tensor, initial: Sequence[Tensor], weights: Sequence[Any]) -> Any:
    """Compute output and final states where no gradient will be asked for: nothing is saved.

    Args:
        recurrence: the kind of layer.
        steps: which rows of the input belong to which step.
        input: padded (seq, batch, input) or packed data (rows, input).
        initial: h_0, and c_0 for the LSTM, (batch, hidden).
        weights: weight_ih, weight_hh, bias_ih, bias_hh.

    Returns:
        output as the input, and the final states.
    """
    output = input.new_empty(*input.shape[:-1], initial[0].size(1))
    h = output.view(steps.rows, initial[0].size(1))
    x = input.reshape(steps.rows, input.size(-1))
    finals, _ = recurrence.forward(steps, x, initial, h, weights, save=False)
    return output, steps.last(h), *finals


def linear_into(out: Tensor, x: Tensor, weight: Tensor, *biases: Tensor | None) -> None:
    """Write W x and the sum of the biases to `out`, for all rows; the biases may be absent."""
    present = [bias for bias in biases if bias is not None]
    if present:
        torch.addmm(sum(present[1:], present[0]), x, weight.t(), out=out)
    else:
        torch.mm(x, weight.t(), out=out)


def under_autocast(device_type: str) -> bool:
    """Whether autocast is enabled on devices of this type; some, such as meta, have none."""
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)


def _is_plain(cotangent: Tensor | None) -> bool:
    return cotangent is None or (
        type(cotangent) is Tensor
        and not torch._C._functorch.is_functorch_wrapped_tensor(cotangent)
        and not torch._C._functorch.is_legacy_batchedtensor(cotangent)  # of torch.autograd.grad(is_grads_batched=True)
    )


def _gradients(
    ctx: Any,
    inputs: Sequence[Any],
    h: Tensor,
    saved: Sequence[Tensor],
    needs: Sequence[bool],
    d_output: Tensor | None,
    d_final: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Return the gradients of input, states and weights, by hand."""
    input, *_, weight_ih, weight_hh, _bias_ih, _bias_hh = inputs
    steps: Steps = ctx.steps
    dh = torch.empty_like(h)
    dh[: steps.batch] = 0
    dh[steps.batch :] = 0 if d_output is None else d_output.reshape(steps.rows, h.size(1))
    if d_final[0] is not None:
        steps.add_to_last(dh[steps.batch :], d_final[0])
    d_initial, D, last_gate = ctx.recurrence.backward(steps, saved, h, dh, d_final[1:], weight_hh)
    needs_x, *_, needs_W_ih, needs_W_hh, needs_b_ih, needs_b_hh = needs
    dW_hh = _summed_products(D, steps.rows_before(h)) if needs_W_hh else None
    db_hh = D.sum(0) if needs_b_hh else None
    if last_gate is not None:
        D[:, -last_gate.size(1) :] = last_gate
    dW_ih = _summed_products(D, input.reshape(steps.rows, input.size(-1))) if needs_W_ih else None
    db_ih = D.sum(0) if needs_b_ih else None
    dx = (D @ weight_ih).view(input.shape) if needs_x else None
    dh_0 = dh[: steps.batch].clone() if needs[1] else None
    return [dx, dh_0, *d_initial, dW_ih, dW_hh, db_ih, db_hh]


def _summed_products(D: Tensor, x: Tensor) -> Tensor:
    """Return D^T x, for few features the other way round: the product is faster where its rows are long."""
    return (x.t() @ D).t().contiguous() if 4 * x.size(1) <= D.size(1) else D.t() @ x


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
