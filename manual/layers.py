"""RNN, GRU and LSTM, drop-in for those of torch.nn: each says what one step is, `RecurrentLayer` what they share."""

import math
import numbers
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .bidirectional import Bidirectional
from .cells import gru_step, input_product, lstm_step, rnn_step
from .sequences import Layer
from .stacked import Stacked
from .unroll import InTwoParts, Step, Unrolled, map_state

Device: TypeAlias = torch.device | str | int | None


class RecurrentLayer(nn.Module):
    """The parameters, the layout of input and state, and how the layers are put together.

    A kind of layer says what one step is (`_step`), how many gates it has and of how many tensors its state is.
    """

    num_gates: ClassVar[int]
    num_states: ClassVar[int] = 1  # h, or h and c
    parity_draws_like_builtin: ClassVar[bool] = True  # dropout takes torch.nn's random numbers, for the judge to check

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int | None,
        device: Device,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size or 0
        if proj_size is not None and self.num_states == 1:
            raise ValueError(f"expected no proj_size, which only the LSTM has, got {proj_size}")
        self._check_options(dropout)
        self._weight_names = self._register_parameters(device, dtype)
        self.reset_parameters()

    def _check_options(self, dropout: Any) -> None:
        """Refuse the options that torch.nn refuses."""
        is_number = isinstance(dropout, numbers.Number) and not isinstance(dropout, bool)
        if not is_number or not 0 <= self.dropout <= 1:
            raise ValueError(f"expected dropout to be a number in [0, 1], got {dropout!r}")
        if self.dropout > 0 and self.num_layers == 1:
            warnings.warn(
                "expected two layers or more, between which dropout is applied, "
                f"got dropout={dropout} and num_layers={self.num_layers}",
                stacklevel=4,  # where the layer is constructed
            )
        for name in ("bias", "batch_first"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"expected {name} to be a bool, got {getattr(self, name)!r}")
        for name in ("input_size", "hidden_size"):
            if not isinstance(getattr(self, name), int):
                raise TypeError(f"expected {name} to be an int, got {getattr(self, name)!r}")
        for name in ("input_size", "hidden_size", "num_layers"):
            if getattr(self, name) <= 0:
                raise ValueError(f"expected {name} to be positive, got {getattr(self, name)}")
        if not 0 <= self.proj_size < self.hidden_size:
            raise ValueError(
                f"expected proj_size to be 0, or positive and below hidden_size={self.hidden_size}, "
                f"got {self.proj_size}"
            )

    def _register_parameters(self, device: Device, dtype: torch.dtype | None) -> list[dict[str, str]]:
        """Make the parameters; return, for each layer and direction, the name of each weight of its step."""
        gates, out = self.num_gates * self.hidden_size, self.proj_size or self.hidden_size
        directions = ["", "_reverse"] if self.bidirectional else [""]
        names = []
        for layer in range(self.num_layers):
            features = self.input_size if layer == 0 else out * len(directions)
            shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, features), "weight_hh": (gates, out)}
            if self.bias:
                shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
            if self.proj_size > 0:
                shapes |= {"weight_hr": (out, self.hidden_size)}
            for direction in directions:
                names.append({weight: f"{weight}_l{layer}{direction}" for weight in shapes})
                for weight, shape in shapes.items():
                    parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                    self.register_parameter(names[-1][weight], parameter)
        return names

    def reset_parameters(self) -> None:
        """Draw every parameter from U(-1/sqrt(hidden_size), 1/sqrt(hidden_size)), in their order."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Do nothing: torch.nn packs the weights for cuDNN here, these layers use them as they are."""

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters of each layer and direction, as torch.nn lists them."""
        return [list(weights.values()) for weights in self._weights()]

    def _weights(self) -> list[dict[str, Tensor]]:
        """The weights of the step of each layer and direction, by name."""
        return [{weight: getattr(self, name) for weight, name in names.items()} for names in self._weight_names]

    def extra_repr(self) -> str:
        """The sizes, then every option that is not at its default."""
        defaults = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0,
            "bidirectional": False,
        }
        options = ((name, getattr(self, name), default) for name, default in defaults.items())
        changed = [f"{name}={value}" for name, value, default in options if value != default]
        return ", ".join([str(self.input_size), str(self.hidden_size), *changed])

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Any, Any]:
        """Run over the whole input, from the given state or from zeros.

        Args:
            input: (seq, batch, input), (batch, seq, input) with `batch_first`, (seq, input), or packed.
            hx: initial state, (num_layers*num_directions, batch, out), without batch where the input has
                none; for the LSTM a tuple (h_0, c_0), c_0 with hidden in place of out; None for zeros.

        Returns:
            output, that of the highest layer: as the input, with num_directions*out features.
            h_n, or (h_n, c_n) for the LSTM: the final state, as hx.

        Raises:
            ValueError: the rank or dtype of the input is wrong.
            RuntimeError: the input has no step or a wrong number of features, the state has a wrong shape
                or dtype, or the tensors are on different devices.
            TypeError, AttributeError: hx is a tuple where a tensor is expected, or the other way round.
        """
        weights = self._weights()
        device_type = weights[0]["weight_ih"].device.type
        autocast = device_type != "meta" and torch.is_autocast_enabled(device_type)
        if autocast:  # once, not at every step
            weights = [{name: cast_by_autocast(w) for name, w in of_layer.items()} for of_layer in weights]
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx, weights)
        if input.dim() not in (2, 3):
            raise ValueError(f"expected input of 3 dimensions, or of 2 without a batch, got {input.dim()}")
        check("input", input, (*input.shape[:-1], self.input_size), weights[0]["weight_ih"], ValueError)
        batched = input.dim() == 3
        if not batched:
            input = input.unsqueeze(1)
        elif self.batch_first:
            input = input.transpose(0, 1)
        if len(input) == 0:
            raise RuntimeError("expected at least one step, got none")
        state = self._initial_state(hx, input, [input.size(1)] if batched else [], weights, 3 if batched else 2)
        if autocast:
            state = self._cast_state(state, input.device, even=True)
        if batched:
            output, state = self._layers(weights)(input, state)
            return (output.transpose(0, 1) if self.batch_first else output), state
        output, state = self._layers(weights)(input, map_state(lambda s: s.unsqueeze(1), state))
        return output.squeeze(1), map_state(lambda s: s.squeeze(1), state)

    def _forward_packed(self, input: PackedSequence, hx: Any, weights: list[dict[str, Tensor]]) -> tuple[Any, Any]:
        """Run over packed input: its sequences are sorted by length, so the state is sorted too, and back."""
        batch_sizes = input.batch_sizes.tolist()
        if batch_sizes != sorted(batch_sizes, reverse=True):
            raise RuntimeError(f"expected batch_sizes that never grow, got {batch_sizes}")
        # torch.nn.LSTM leaves the dtype of packed data to its products, whose error is of another class.
        dtype_error = ValueError if self.num_states == 1 else RuntimeError
        shape = sum(batch_sizes), self.input_size
        check("packed data", input.data, shape, weights[0]["weight_ih"], dtype_error)
        state = self._initial_state(hx, input.data, batch_sizes[:1], weights)
        if under_autocast(input.data.device.type):
            state = self._cast_state(state, input.data.device, even=len(set(batch_sizes)) == 1)
        if input.sorted_indices is not None:
            state = map_state(lambda s: s.index_select(1, input.sorted_indices), state)
        output, state = self._layers(weights)(input, state)
        if input.unsorted_indices is not None:
            state = map_state(lambda s: s.index_select(1, input.unsorted_indices), state)
        return output, state

    def _initial_state(
        self, hx: Any, data: Tensor, batch: list[int], weights: list[dict[str, Tensor]], rank: int = 0
    ) -> Any:
        """The given state, if it fits, or zeros of the dtype and on the device of the data."""
        given = [None] * self.num_states if hx is None else tensors_of(hx, self.num_states, rank)
        states = []
        for name, state, size in zip("hc", given, (self.proj_size or self.hidden_size, self.hidden_size), strict=False):
            shape = (len(weights), *batch, size)
            if state is None:
                state = torch.zeros(shape, dtype=data.dtype, device=data.device)
            else:
                check(f"{name}_0", state, shape, weights[0]["weight_ih"])
            states.append(state)
        return states[0] if self.num_states == 1 else tuple(states)

    def _cast_state(self, state: Any, device: torch.device, even: bool) -> Any:
        """Under autocast, the state in its dtype where a kernel of torch.nn casts it, too, and so the results.

        cuDNN's kernels do, and on the CPU that of oneDNN: it is for the LSTM, where all sequences have one length.
        """
        by_onednn = self.num_states == 2 and self.proj_size == 0 and even
        return map_state(cast_by_autocast, state) if by_onednn or device.type == "cuda" else state

    def _layers(self, weights: list[dict[str, Tensor]]) -> Layer:
        """All layers: stacked where there is more than one."""
        count = 2 if self.bidirectional else 1
        layers = [self._layer(weights[first : first + count]) for first in range(0, len(weights), count)]
        return layers[0] if len(layers) == 1 else Stacked(layers, self.dropout if self.training else 0.0)

    def _layer(self, weights: list[dict[str, Tensor]]) -> Layer:
        """One layer, in one direction or both, with the weights of each."""
        first = Unrolled(self._step(**weights[0]))
        return first if len(weights) == 1 else Bidirectional(first, Unrolled(self._step(**weights[1])))

    def _step(self, **weights: Tensor) -> Step:
        """The step function of one layer in one direction."""
        raise NotImplementedError


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
        proj_size: refused, for only the LSTM has a projection.
        device: device of the parameters.
        dtype: dtype of the parameters.

    Raises:
        ValueError: a size is not positive, dropout is not in [0, 1], the nonlinearity is unknown, or
            `proj_size` is given.
        TypeError: an argument is of the wrong type.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html
    """

    num_gates = 1

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
        proj_size: int | None = None,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"expected nonlinearity to be 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype
        )
        self.nonlinearity = nonlinearity

    def _step(self, **weights: Tensor) -> Step:
        W_hh, nonlinearity = weights.pop("weight_hh").t()[None], getattr(torch, self.nonlinearity)

        def of_state(ih_t: Tensor, h_prev: Tensor) -> tuple[Tensor, Tensor]:
            h_t = rnn_step(ih_t, h_prev, W_hh, nonlinearity)
            return h_t, h_t

        return InTwoParts(partial(input_product, **weights), of_state)


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
        proj_size: refused, for only the LSTM has a projection.
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
        proj_size: int | None = None,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype
        )

    def _step(self, **weights: Tensor) -> Step:
        W_hh, bias_hh = weights.pop("weight_hh").t(), weights.pop("bias_hh", None)

        def of_state(ih_t: Tensor, h_prev: Tensor) -> tuple[Tensor, Tensor]:
            h_t = gru_step(ih_t, h_prev, W_hh, bias_hh)
            return h_t, h_t

        return InTwoParts(partial(input_product, **weights), of_state)


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
    num_states = 2

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
        W_hh, W_hr = weights.pop("weight_hh").t(), weights.pop("weight_hr").t() if self.proj_size else None

        def of_state(ih_t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            h_t, c_t = lstm_step(ih_t, *state, W_hh, W_hr)
            return h_t, (h_t, c_t)

        return InTwoParts(partial(input_product, **weights), of_state)


def check(
    name: str, tensor: Tensor, shape: tuple[int, ...], weight: Tensor, dtype_error: type[Exception] = RuntimeError
) -> None:
    """Refuse a tensor of another shape than expected, or of another dtype or device than the weights.

    Raises:
        RuntimeError: the shape or the device differs, or the dtype, unless autocast is to change it.
        ValueError: the dtype differs, where `dtype_error` says so.
    """
    if tensor.dtype != weight.dtype and not under_autocast(tensor.device.type):
        raise dtype_error(f"expected {name} of the weights' dtype {weight.dtype}, got {tensor.dtype}")
    if tensor.shape != shape or tensor.device != weight.device:
        raise RuntimeError(
            f"expected {name} of shape {shape} on {weight.device}, got {tuple(tensor.shape)} on {tensor.device}"
        )


def tensors_of(hx: Any, count: int, rank: int = 0) -> Sequence[Tensor]:
    """The tensors of a given state: h, or h and c.

    Args:
        hx: the state.
        count: how many tensors it has to have.
        rank: of the tensors, for padded input of a layer: there torch.nn.LSTM looks at the rank of hx[0] and hx[1]
            before anything else, which decides the class of the error.

    Raises:
        TypeError, RuntimeError, IndexError: hx is not h and c where it has to be, but one tensor, or more or fewer.
        AttributeError: hx holds anything else but tensors.
    """
    states = (hx,) if count == 1 else hx
    if count == 2 and (isinstance(hx, Tensor) or len(hx) != 2):
        error: type[Exception] = TypeError if isinstance(hx, Tensor) else RuntimeError
        if rank > 0 and len(hx) < 2:
            error = IndexError
        elif rank > 0 and isinstance(hx, Tensor) and hx.dim() <= rank:
            error = RuntimeError
        got = "one tensor" if isinstance(hx, Tensor) else f"{len(hx)} tensors"
        raise error(f"expected hx to be a tuple of 2 tensors (h, c), got {got}")
    for state in states:
        if not isinstance(state, Tensor):
            raise AttributeError(f"expected hx to be {count} of Tensor, got {type(state).__name__}")
    return states


def under_autocast(device_type: str) -> bool:
    """Whether autocast is enabled on devices of this type; the meta device has none."""
    return device_type != "meta" and torch.is_autocast_enabled(device_type)


def cast_by_autocast(tensor: Tensor) -> Tensor:
    """The tensor in the dtype in which autocast computes products, where it is enabled; it leaves float64 alone."""
    device_type = tensor.device.type
    if tensor.dtype == torch.float64 or not under_autocast(device_type):
        return tensor
    return tensor.to(torch.get_autocast_dtype(device_type))
