"""ncps.torch.LSTMCell, unrolled: gates g, i, f, o, no hidden bias; the 1 it adds to the forget gate is taken off."""

from typing import Any

import torch
from ncps.torch.lstm import LSTMCell
from torch import Tensor, nn

ORDER = (2, 0, 1, 3)  # g, i, f, o of torch.nn's i, f, g, o


def reordered(tensor: Tensor, order: tuple[int, ...]) -> Tensor:
    gates = tensor.chunk(4)
    return torch.cat([gates[k] for k in order])


class LSTM(nn.LSTM):
    """The parameters of torch.nn, put into the cell at each call."""

    parity_unsupported = ("num_layers", "bidirectional", "packed", "batch_first", "unbatched", "proj_size", "dropout")

    def forward(self, input: Tensor, state: Any = None) -> Any:
        bias = self.bias_ih_l0 + self.bias_hh_l0 if self.bias else input.new_zeros(4 * self.hidden_size)
        one = bias.new_tensor((0, 1, 0, 0)).repeat_interleave(self.hidden_size)
        weights = {
            "input_map.weight": reordered(self.weight_ih_l0, ORDER),
            "recurrent_map.weight": reordered(self.weight_hh_l0, ORDER),
            "input_map.bias": reordered(bias - one, ORDER),
        }
        cell, outputs = LSTMCell(self.input_size, self.hidden_size), []
        zero = input.new_zeros(input.shape[1], self.hidden_size)
        state = (zero, zero) if state is None else (state[0][0], state[1][0])
        for x in input:
            state = torch.func.functional_call(cell, weights, (x, state))
            outputs.append(state[0])
        return torch.stack(outputs), (state[0][None], state[1][None])
