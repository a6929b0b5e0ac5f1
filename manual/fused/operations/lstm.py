"""The LSTM over all steps at once, with backpropagation through time."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .recurrence import Steps, StepTanh, linear_into

sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input  # (d, s) -> d * s * (1 - s)
tanh_backward = torch.ops.aten.tanh_backward.grad_input  # (d, t) -> d * (1 - t^2)


class LSTMRecurrence:
    """The LSTM without a projection, as in `lstm_cell`.

    i = sigmoid(a_i)        a_i = W_ii x_t + b_ii + W_hi h_{t-1} + b_hi, and so for f, g and o
    f = sigmoid(a_f)
    g = tanh(a_g)
    o = sigmoid(a_o)
    c_t = f * c_{t-1} + i * g
    h_t = o * tanh(c_t)

    Backward, with dh_t and dc_t the whole gradients of h_t and c_t, from the output and from step t+1:

    dc_t = dc_t from step t+1 + dh_t * o * (1 - tanh(c_t)^2)
    da_i = dc_t * g * i * (1 - i)
    da_f = dc_t * c_{t-1} * f * (1 - f)
    da_g = dc_t * i * (1 - g^2)
    da_o = dh_t * tanh(c_t) * o * (1 - o)
    dc_{t-1} = dc_t * f
    dh_{t-1} = W_hi^T da_i + W_hf^T da_f + W_hg^T da_g + W_ho^T da_o + dL/doutput_{t-1}

    Each is dc_t or dh_t times what the forward pass alone determines, which is computed for all steps before the loop.
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
        h_0, c_0 = initial
        H = h.size(1)
        tanh = StepTanh(c_0)
        weight_ih, weight_hh, bias_ih, bias_hh = tanh.scaled(weights, slice(2 * H, 3 * H))  # those of g
        gates = h.new_empty(steps.rows, 4 * H)
        linear_into(gates, x, weight_ih, bias_ih, bias_hh)
        i, f, a_g, o = gates.chunk(4, 1)
        if save:
            c, g, tanh_c = steps.room_after(c_0), torch.empty_like(h), torch.empty_like(h)
            c_steps, g_steps, tanh_steps = map(steps.split, (c[steps.batch :], g, tanh_c))
            c_before = steps.before(c[: steps.batch], c_steps)
        else:  # one state, that each step overwrites
            c, g, tanh_c = c_0.clone(), torch.empty_like(c_0), torch.empty_like(c_0)
            c_before, g_steps, tanh_steps = map(steps.leading, (c, g, tanh_c))
            c_steps = c_before
        W_hh, h_steps = weight_hh.t(), steps.split(h)
        others = map(steps.split, (gates, gates[:, : 2 * H], i, f, a_g, o))
        for h_prev, h_t, c_prev, c_t, g_t, tanh_t, gates_t, if_t, i_t, f_t, a_g_t, o_t in zip(
            steps.before(h_0, h_steps), h_steps, c_before, c_steps, g_steps, tanh_steps, *others, strict=True
        ):
            gates_t.addmm_(h_prev, W_hh)
            if tanh.by_sigmoid:
                gates_t.sigmoid_()
                tanh.from_sigmoid(a_g_t, out=g_t)
            else:
                if_t.sigmoid_()
                g_t.copy_(a_g_t).tanh_()  # tanh is several times faster on contiguous memory
                o_t.sigmoid_()
            torch.mul(f_t, c_prev, out=c_t).addcmul_(i_t, g_t)
            torch.mul(o_t, tanh.into(tanh_t, c_t), out=h_t)
        return ([steps.last(c[steps.batch :])], [gates, c, g, tanh_c]) if save else ([c], [])

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
        gates, c, g, tanh_c = saved
        H = h.size(1)
        i, f, _, o = gates.chunk(4, 1)
        D = torch.empty_like(gates)
        da_i, da_f, da_g, da_o = D.chunk(4, 1)
        sigmoid_backward(g, i, grad_input=da_i)
        sigmoid_backward(steps.rows_before(c), f, grad_input=da_f)
        tanh_backward(i, g, grad_input=da_g)
        sigmoid_backward(tanh_c, o, grad_input=da_o)
        dc_of_dh = tanh_backward(o, tanh_c, grad_input=torch.empty_like(tanh_c))
        # So far these are factors of dc_t and dh_t.
        dc = torch.zeros_like(c[: steps.batch]) if d_final[0] is None else d_final[0].clone()
        dh_steps = steps.split(dh[steps.batch :])
        loop = zip(
            steps.before(dh[: steps.batch], dh_steps),
            dh_steps,
            steps.leading(dc),
            steps.leading(dc.unsqueeze(1)),
            *map(steps.split, (dc_of_dh, D, D[:, : 3 * H].view(steps.rows, 3, H), da_o, f)),
            strict=True,
        )
        for dh_prev, dh_t, dc_t, dc_t_each, dc_of_dh_t, D_t, da_ifg_t, da_o_t, f_t in reversed(list(loop)):
            dc_t.addcmul_(dh_t, dc_of_dh_t)
            da_ifg_t.mul_(dc_t_each)
            da_o_t.mul_(dh_t)
            dc_t.mul_(f_t)
            dh_prev.addmm_(D_t, weight_hh)
        return [dc], D, []
