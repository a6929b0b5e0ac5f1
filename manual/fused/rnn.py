"""The Elman RNN over all steps at once, with backpropagation through time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .recurrence import linear_into
from .steps import Steps
from .tanh import FromSigmoid, by_sigmoid, doubled


@dataclass(frozen=True)
class RNNRecurrence:
    """h_t = tanh(a_t) or relu(a_t), with a_t = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh.

    Backward, with dh_t the whole gradient of h_t, from the output and from step t+1:

    da_t = dh_t * (1 - h_t^2), or dh_t where h_t > 0 and 0 elsewhere
    dh_{t-1} = W_hh^T da_t + dL/doutput_{t-1}

    Args:
        relu: whether relu stands in place of tanh.
    """

    relu: bool

    def forward(
        self,
        steps: Steps,
        x: Tensor,
        initial: Sequence[Tensor],
        h: Tensor,
        weights: Sequence[Any],
        save: bool,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Compute the hidden states of all steps: see `Recurrence.forward`."""
        through_sigmoid = not self.relu and by_sigmoid(initial[0])
        if through_sigmoid:
            weights = doubled(weights, slice(None))
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        linear_into(h, x, weight_ih, bias_ih, bias_hh)
        W_hh, h_steps = weight_hh.t(), steps.split(h)
        loop = zip(steps.before(initial[0], h_steps), h_steps, strict=True)
        if through_sigmoid:
            tanh_of = FromSigmoid(h)
            for h_prev, h_t in loop:
                tanh_of(h_t.addmm_(h_prev, W_hh).sigmoid_(), out=h_t)
            return [], []
        nonlinearity = torch.relu_ if self.relu else torch.tanh_
        for h_prev, h_t in loop:
            nonlinearity(h_t.addmm_(h_prev, W_hh))
        return [], []

    def backward(
        self,
        steps: Steps,
        saved: Sequence[Tensor],
        h: Tensor,
        dh: Tensor,
        d_final: Sequence[Tensor | None],
        weight_hh: Tensor,
    ) -> tuple[list[Tensor], Tensor, Tensor | None]:
        """Carry the gradients from the last step to the first: see `Recurrence.backward`."""
        h, D = h[steps.batch :], dh[steps.batch :]  # da_t takes the place of dh_t
        D_steps = steps.split(D)
        before = steps.before(dh[: steps.batch], D_steps)
        if self.relu:
            dead = steps.split(h <= 0)
            for dh_prev, D_t, dead_t in zip(before[::-1], D_steps[::-1], dead[::-1], strict=True):
                dh_prev.addmm_(D_t.masked_fill_(dead_t, 0), weight_hh)
        else:
            slope = steps.split(torch.addcmul(h.new_ones(()), h, h, value=-1))  # 1 - h^2
            for dh_prev, D_t, slope_t in zip(before[::-1], D_steps[::-1], slope[::-1], strict=True):
                dh_prev.addmm_(D_t.mul_(slope_t), weight_hh)
        return [], D, None
