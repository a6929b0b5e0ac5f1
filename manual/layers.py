"""RNN, GRU and LSTM, drop-in for those of torch.nn: each says what one step is and what its state is."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from . import checks
from .cells import gru_cell, lstm_cell, rnn_cell
from .recurrent_layer import RecurrentLayer
from .structure import Device
from .unroll import Step


class RNN(RecurrentLayer):
    """Elman RNN of one or more layers, drop-in for torch.nn.RNN.

    h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), or relu in place of tanh

    Args:
        input_size: number of features of the input.
        hidden_size: number of features of the hidden state.
        num_layers: number of layers, each fed by the output of the one below.
        nonlinearity: "tanh" or "relu".
        bias: whether the layers have b_ih and b_hh.
        batch_first: whether batched input and output are (batch, seq, features), not (seq, batch, features).
        dropout: probability that an element of a layer's output is zeroed in training, the last one's aside.
        bidirectional: whether each layer runs in both directions.
        device: device of the parameters.
        dtype: dtype of the parameters.

    Raises:
        ValueError: a size is not positive, dropout is not in [0, 1], the nonlinearity is unknown, or
            `proj_size` is given.
        TypeError: an argument is of the wrong type.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html
    """

    num_gates = 1
    rank_error = "{}: Expected input to be 2D or 3D, got {}D tensor instead"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: Device = None,
        dtype: torch.dtype | None = None,
        **unsupported: Any,
    ) -> None:
        checks.check_unsupported(type(self).__name__, unsupported)
        checks.check_nonlinearity(nonlinearity)
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )
        self.nonlinearity = nonlinearity

    def _step(self, **weights: Tensor) -> Step:
        # One direction is one set of weights; bmm wants them as (sets, input, hidden).
        one_set = {name: (w.t() if w.dim() == 2 else w).unsqueeze(0) for name, w in weights.items()}
        nonlinearity = torch.tanh if self.nonlinearity == "tanh" else torch.relu

        def step(x_t: Tensor, h_prev: Tensor) -> tuple[Tensor, Tensor]:
            h_t = rnn_cell(x_t.unsqueeze(0), h_prev.unsqueeze(0), **one_set, nonlinearity=nonlinearity)
            h_t = h_t.squeeze(0)
            return h_t, h_t

        return step


class GRU(RecurrentLayer):
    """Gated recurrent unit of one or more layers, drop-in for torch.nn.GRU.

    r = sigmoid(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr)
    z = sigmoid(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz)
    n = tanh(W_in x_t + b_in + r * (W_hn h_{t-1} + b_hn))
    h_t = (1 - z) * n + z * h_{t-1}

    Args:
        input_size: number of features of the input.
        hidden_size: number of features of the hidden state.
        num_layers: number of layers, each fed by the output of the one below.
        bias: whether the layers have b_ih and b_hh.
        batch_first: whether batched input and output are (batch, seq, features), not (seq, batch, features).
        dropout: probability that an element of a layer's output is zeroed in training, the last one's aside.
        bidirectional: whether each layer runs in both directions.
        device: device of the parameters.
        dtype: dtype of the parameters.

    Raises:
        ValueError: a size is not positive, dropout is not in [0, 1], or `proj_size` is given.
        TypeError: an argument is of the wrong type.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html (the reset after the product)
    """

    num_gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: Device = None,
        dtype: torch.dtype | None = None,
        **unsupported: Any,
    ) -> None:
        checks.check_unsupported(type(self).__name__, unsupported)
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )

    def _step(self, **weights: Tensor) -> Step:
        def step(x_t: Tensor, h_prev: Tensor) -> tuple[Tensor, Tensor]:
            h_t = gru_cell(x_t, h_prev, **weights)
            return h_t, h_t

        return step


class LSTM(RecurrentLayer):
    """Long short-term memory of one or more layers, drop-in for torch.nn.LSTM.

    i = sigmoid(W_ii x_t + b_ii + W_hi h_{t-1} + b_hi)
    f = sigmoid(W_if x_t + b_if + W_hf h_{t-1} + b_hf)
    g = tanh(W_ig x_t + b_ig + W_hg h_{t-1} + b_hg)
    o = sigmoid(W_io x_t + b_io + W_ho h_{t-1} + b_ho)
    c_t = f * c_{t-1} + i * g
    h_t = o * tanh(c_t), or W_hr (o * tanh(c_t)) with a projection

    Args:
        input_size: number of features of the input.
        hidden_size: number of features of the cell state, and of the hidden state without a projection.
        num_layers: number of layers, each fed by the output of the one below.
        bias: whether the layers have b_ih and b_hh.
        batch_first: whether batched input and output are (batch, seq, features), not (seq, batch, features).
        dropout: probability that an element of a layer's output is zeroed in training, the last one's aside.
        bidirectional: whether each layer runs in both directions.
        proj_size: number of features the hidden state is projected to, smaller than hidden_size; 0 for none.
        device: device of the parameters.
        dtype: dtype of the parameters.

    Raises:
        ValueError: a size is not positive, dropout is not in [0, 1], or proj_size is not in [0, hidden_size).
        TypeError: an argument is of the wrong type.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html
    """

    num_gates = 4
    # torch.nn.LSTM looks at padded input only; packed input of another dtype is refused by its products.
    packed_dtype_error = RuntimeError

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
        )

    def _step(self, **weights: Tensor) -> Step:
        def step(x_t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            h_t, c_t = lstm_cell(x_t, *state, **weights)
            return h_t, (h_t, c_t)

        return step

    def _run(self, input: Tensor | PackedSequence, hx: Any) -> tuple[Any, Any]:
        checks.check_pair(hx)
        return super()._run(input, hx)

    def _state_shapes(self, batch: int) -> list[tuple[int, int, int]]:
        [h_shape] = super()._state_shapes(batch)
        return [h_shape, (*h_shape[:2], self.hidden_size)]

    def _tensors(self, hx: Any) -> tuple[Tensor, ...]:
        return hx[0], hx[1]

    def _state(self, tensors: list[Tensor]) -> Any:
        return tuple(tensors)
