"""The GRU over all steps at once, with backpropagation through time."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .recurrence import Steps, StepTanh, linear_into

sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input  # (d, s) -> d * s * (1 - s)
tanh_backward = torch.ops.aten.tanh_backward.default  # (d, t) -> d * (1 - t^2)


class GRURecurrence:
    """The GRU whose reset gate is applied after the recurrent product, as in `gru_cell`.

    r = sigmoid(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr)
    z = sigmoid(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz)
    m = W_hn h_{t-1} + b_hn
    n = tanh(W_in x_t + b_in + r * m)
    h_t = (1 - z) * n + z * h_{t-1}

    Backward, with dh_t the whole gradient of h_t, from the output and from step t+1, and da the gradient of what a
    sigmoid or the tanh is taken of:

    da_n = dh_t * (1 - z) * (1 - n^2)
    dm   = da_n * r
    da_r = da_n * m * r * (1 - r)
    da_z = dh_t * (h_{t-1} - n) * z * (1 - z)
    dh_{t-1} = dh_t * z + W_hr^T da_r + W_hz^T da_z + W_hn^T dm + dL/doutput_{t-1}

    Each is dh_t times what the forward pass alone determines, which is computed for all steps before the loop.
    """

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
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        H = h.size(1)
        b_ih, b_hh = (None, None) if bias_ih is None else (bias_ih[: 2 * H], bias_hh[: 2 * H])
        gates, n = h.new_empty(steps.rows, 3 * H), torch.empty_like(h)
        rz, (r, z, m) = gates[:, : 2 * H], gates.chunk(3, 1)
        linear_into(rz, x, weight_ih[: 2 * H], b_ih, b_hh)
        tanh = StepTanh(initial[0])
        linear_into(n, x, *tanh.scaled((weight_ih[2 * H :], None if bias_ih is None else bias_ih[2 * H :])))
        m[:] = 0 if bias_hh is None else bias_hh[2 * H :]
        W_hh, h_steps = weight_hh.t(), steps.split(h)
        others = map(steps.split, (gates, rz, r, z, m, n))
        for h_prev, h_t, gates_t, rz_t, r_t, z_t, m_t, n_t in zip(
            steps.before(initial[0], h_steps), h_steps, *others, strict=True
        ):
            gates_t.addmm_(h_prev, W_hh)
            rz_t.sigmoid_()
            tanh(n_t.addcmul_(r_t, m_t, value=tanh.factor))
            torch.lerp(n_t, h_prev, z_t, out=h_t)
        return [], [gates, n] if save else []

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
        gates, n = saved
        r, z, m = gates.chunk(3, 1)
        D = torch.empty_like(gates)
        da_r, da_z, dm = D.chunk(3, 1)
        da_n = tanh_backward(1 - z, n)
        torch.mul(da_n, r, out=dm)
        sigmoid_backward(da_n * m, r, grad_input=da_r)
        sigmoid_backward(steps.rows_before(h) - n, z, grad_input=da_z)
        # So far these are factors of dh_t.
        dh_steps = steps.split(dh[steps.batch :])
        each_gate = steps.split(D.view(steps.rows, 3, h.size(1)))
        loop = zip(
            steps.before(dh[: steps.batch], dh_steps),
            dh_steps,
            steps.split(dh[steps.batch :].unsqueeze(1)),
            each_gate,
            steps.split(D),
            steps.split(z),
            strict=True,
        )
        for dh_prev, dh_t, dh_t_each, factors_t, D_t, z_t in reversed(list(loop)):
            factors_t.mul_(dh_t_each)
            dh_prev.addcmul_(dh_t, z_t).addmm_(D_t, weight_hh)
        return [], D, [(slice(2 * h.size(1), None), da_n.mul_(dh[steps.batch :]))]  # da_n in place of dm
