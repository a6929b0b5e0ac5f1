"""Both passes of a layer in one direction, around the recurrence of its kind."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .recurrence import Recurrence, Steps


class StepByStep:
    """See `Passes`.

    Let D_ih be the gradients of W_ih x + b_ih at all steps, one row for each step of each sequence, and D_hh those of
    W_hh h_prev + b_hh. Backpropagation through time ends in one product over all steps for each weight:

    dL/dW_ih = D_ih^T x          dL/db_ih = sum of the rows of D_ih      dL/dx = D_ih W_ih
    dL/dW_hh = D_hh^T h_prev     dL/db_hh = sum of the rows of D_hh

    How they at one step come from those at the next is the kind's: see `Recurrence.backward`.

    Args:
        recurrence: the kind of layer.
        batch_sizes: how many sequences reach each step, never growing.
    """

    def __init__(self, recurrence: Recurrence, batch_sizes: Sequence[int]) -> None:
        self.recurrence, self.steps = recurrence, Steps(batch_sizes)

    def forward(self, tensors: Sequence[Any], keep: bool) -> tuple[list[Tensor], list[Tensor]]:
        """See `Passes.forward`; kept are h_0 with the hidden states of all steps below it, and what the kind keeps."""
        input, states, weights, steps = tensors[0], tensors[1:-5], tensors[-5:-1], self.steps
        h_0, *others = (s.squeeze(0) for s in states)
        x = input.reshape(steps.rows, input.size(-1))
        output = input.new_empty(*input.shape[:-1], h_0.size(1))
        h = output.view(steps.rows, h_0.size(1))
        if keep:  # apart: whoever changes the output in place changes nothing that `backward` reads
            whole = steps.room_after(h_0)
            h_0, h = whole[: steps.batch], whole[steps.batch :]
        finals, kept = self.recurrence.forward(steps, x, (h_0, *others), h, weights, save=keep)
        if keep:
            output.copy_(h.view_as(output))
            kept = [whole, *kept]
        # Copies: autograd forbids to change views in place.
        return [output, *(torch.stack([state]) for state in (steps.last(h), *finals))], kept

    def backward(
        self,
        tensors: Sequence[Any],
        kept: Sequence[Tensor],
        needs: Sequence[bool],
        cotangents: Sequence[Tensor | None],
    ) -> list[Tensor | None]:
        """See `Passes.backward`."""
        steps, input, (h, *saved) = self.steps, tensors[0], kept
        weight_ih, weight_hh = tensors[-5:-3]
        d_output, *d_finals = cotangents
        d_h_n, *d_others = (None if d is None else d.squeeze(0) for d in d_finals)
        dh = torch.empty_like(h)
        dh[: steps.batch] = 0
        dh[steps.batch :] = 0 if d_output is None else d_output.reshape(steps.rows, h.size(1))
        if d_h_n is not None:
            steps.add_to_last(dh[steps.batch :], d_h_n)
        d_initial, D, others = self.recurrence.backward(steps, saved, h, dh, d_others, weight_hh)
        needs_W_ih, needs_W_hh, needs_b_ih, needs_b_hh, _ = needs[-5:]
        dW_hh = _summed_products(D, steps.rows_before(h)) if needs_W_hh else None
        db_hh = D.sum(0) if needs_b_hh else None
        for columns, values in others:  # from here on D is that of W_ih x + b_ih, without a second tensor as large
            D[:, columns] = values
        dW_ih = _summed_products(D, input.reshape(steps.rows, input.size(-1))) if needs_W_ih else None
        db_ih = D.sum(0) if needs_b_ih else None
        dx = (D @ weight_ih).view(input.shape) if needs[0] else None
        d_states = [d.unsqueeze(0) for d in (dh[: steps.batch].clone(), *d_initial)]
        return [dx, *d_states, dW_ih, dW_hh, db_ih, db_hh, None]


def _summed_products(D: Tensor, x: Tensor) -> Tensor:
    """Return D^T x, for few features the other way round: the product is faster where its rows are long."""
    return (x.t() @ D).t().contiguous() if 4 * x.size(1) <= D.size(1) else D.t() @ x
