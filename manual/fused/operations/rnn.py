"""The Elman RNN over all steps at once, with backpropagation through time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .recurrence import Steps, StepTanh, linear_into

relu_backward = torch.ops.aten.threshold_backward.grad_input  # (d, r, 0) -> d where r > 0, else 0
tanh_backward = torch.ops.aten.tanh_backward.grad_input  # (d, t) -> d * (1 - t^2)


@dataclass
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
        tanh = StepTanh(initial[0])
        nonlinearity = torch.relu_ if self.relu else tanh
        weight_ih, weight_hh, bias_ih, bias_hh = weights if self.relu else tanh.scaled(weights)
        linear_into(h, x, weight_ih, bias_ih, bias_hh)
        W_hh, h_steps = weight_hh.t(), steps.split(h)
        for h_prev, h_t in zip(steps.before(initial[0], h_steps), h_steps, strict=True):
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
    ) -> tuple[list[Tensor], Tensor, list[tuple[slice, Tensor]]]:
        """Carry the gradients from the last step to the first: see `Recurrence.backward`."""
        h, D = h[steps.batch :], dh[steps.batch :]  # da_t takes the place of dh_t
        D_steps, h_steps = steps.split(D), steps.split(h)
        loop = zip(steps.before(dh[: steps.batch], D_steps), D_steps, h_steps, strict=True)
        for dh_prev, D_t, h_t in reversed(list(loop)):
            if self.relu:
                relu_backward(D_t, h_t, 0, grad_input=D_t)
            else:
                tanh_backward(D_t, h_t, grad_input=D_t)
            dh_prev.addmm_(D_t, weight_hh)
        return [], D, []
