"""RNNCell, GRUCell and LSTMCell, drop-in for those of torch.nn: a cell and its parameters."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .cells import gru_cell, lstm_cell, rnn_cell
from .layers import Device, cast_by_autocast, check, tensors_of


class RecurrentCell(nn.Module):
    """What RNNCell, GRUCell and LSTMCell share: the parameters, and the layout of input and state."""

    num_gates: ClassVar[int]
    num_states: ClassVar[int] = 1  # h, or h and c

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        gates = self.num_gates * hidden_size
        weights: dict[str, tuple[int, ...]] = {
            "weight_ih": (gates, input_size),
            "weight_hh": (gates, hidden_size),
        }
        biases = {"bias_ih": (gates,), "bias_hh": (gates,)}
        for name, shape in (weights | biases).items():
            absent = name in biases and not bias
            parameter = None if absent else nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
            self.register_parameter(name, parameter)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter from U(-1/sqrt(hidden_size), 1/sqrt(hidden_size)), in their order."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        """The sizes, then every option that is not at its default."""
        bias = "" if self.bias is True else f", bias={self.bias}"
        return f"{self.input_size}, {self.hidden_size}{bias}"

    def _run(self, input: Tensor, hx: Any) -> tuple[Tensor, ...]:
        """Take the step from the given states, or from zeros; without a batch, as a batch of one."""
        states = [] if hx is None else list(tensors_of(hx, self.num_states))
        for name, tensor in zip(("input", "h", "c"), (input, *states), strict=False):
            if tensor.dim() not in (1, 2):
                raise ValueError(f"expected {name} of 2 dimensions, or of 1 without a batch, got {tensor.dim()}")
        batch = input.shape[:-1]
        check("input", input, (*batch, self.input_size), self.weight_ih)
        for name, state in zip("hc", states, strict=False):
            check(name, state, (*batch, self.hidden_size), self.weight_ih)
        if hx is None:
            zeros = torch.zeros(*batch, self.hidden_size, dtype=input.dtype, device=input.device)
            states = [zeros] * self.num_states
        if batch:
            return self._step(input, *states)
        return tuple(state.squeeze(0) for state in self._step(*(tensor.unsqueeze(0) for tensor in (input, *states))))

    def _step(self, x_t: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """The next states, the hidden state first."""
        raise NotImplementedError


class RNNCell(RecurrentCell):
    """One step of the Elman RNN, drop-in for torch.nn.RNNCell.

    h_t = tanh(W_ih x_t + b_ih + W_hh h_prev + b_hh), or relu in place of tanh

    Args:
        input_size: number of features of the input.
        hidden_size: number of features of the hidden state.
        bias: whether the cell has b_ih and b_hh.
        nonlinearity: "tanh" or "relu"; any other is refused at the first call, as torch.nn.RNNCell does.
        device: device of the parameters.
        dtype: dtype of the parameters.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNNCell.html
    """

    num_gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def extra_repr(self) -> str:
        """The sizes, then every option that is not at its default."""
        nonlinearity = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}"
        return super().extra_repr() + nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Take one step.

        Args:
            input: x_t, (batch, input) or (input).
            hx: h_prev, (batch, hidden) or (hidden); None for zeros.

        Returns:
            h_t, as hx.

        Raises:
            ValueError: input or hx is neither 1-D nor 2-D.
            RuntimeError: a shape, dtype or device does not fit, or the nonlinearity is unknown.
        """
        [h_t] = self._run(input, hx)
        return h_t

    def _step(self, x_t: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"expected nonlinearity to be 'tanh' or 'relu', got {self.nonlinearity!r}")
        [h_prev] = states
        bias_ih, bias_hh = (bias if bias is None else cast_by_autocast(bias) for bias in (self.bias_ih, self.bias_hh))
        nonlinearity = getattr(torch, self.nonlinearity)
        return (rnn_cell(x_t, h_prev, self.weight_ih, self.weight_hh, bias_ih, bias_hh, nonlinearity),)


class GRUCell(RecurrentCell):
    """One step of the GRU, drop-in for torch.nn.GRUCell.

    The equations are those of `gru_cell`.

    Args:
        input_size: number of features of the input.
        hidden_size: number of features of the hidden state.
        bias: whether the cell has b_ih and b_hh.
        device: device of the parameters.
        dtype: dtype of the parameters.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.GRUCell.html (the reset after the product)
    """

    num_gates = 3

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Take one step.

        Args:
            input: x_t, (batch, input) or (input).
            hx: h_prev, (batch, hidden) or (hidden); None for zeros.

        Returns:
            h_t, as hx.

        Raises:
            ValueError: input or hx is neither 1-D nor 2-D.
            RuntimeError: a shape, dtype or device does not fit.
        """
        [h_t] = self._run(input, hx)
        return h_t

    def _step(self, x_t: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        [h_prev] = states
        return (gru_cell(x_t, h_prev, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh),)


class LSTMCell(RecurrentCell):
    """One step of the LSTM, drop-in for torch.nn.LSTMCell.

    The equations are those of `lstm_cell`, without a projection.

    Args:
        input_size: number of features of the input.
        hidden_size: number of features of the hidden and the cell state.
        bias: whether the cell has b_ih and b_hh.
        device: device of the parameters.
        dtype: dtype of the parameters.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTMCell.html
    """

    num_gates = 4
    num_states = 2

    def forward(self, input: Tensor, hx: tuple[Tensor, ...] | None = None) -> tuple[Tensor, Tensor]:
        """Take one step.

        Args:
            input: x_t, (batch, input) or (input).
            hx: (h_prev, c_prev), each (batch, hidden) or (hidden); None for zeros.

        Returns:
            (h_t, c_t), as hx.

        Raises:
            ValueError: input, h_prev or c_prev is neither 1-D nor 2-D.
            RuntimeError: a shape, dtype or device does not fit, or hx has not two tensors.
            TypeError: hx is a single tensor.
        """
        h_t, c_t = self._run(input, hx)
        return h_t, c_t

    def _step(self, x_t: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        h_prev, c_prev = states
        return lstm_cell(x_t, h_prev, c_prev, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
