"""What RNN, GRU and LSTM share."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from . import checks
from .bidirectional import Bidirectional
from .stacked import Stacked
from .structure import Device, Layer, map_state
from .unroll import Step, Unrolled


class RecurrentLayer(nn.Module):
    """The parameters, the layout of input and state, and how the layers are put together.

    A kind of layer says what one step is (`_step`), how many gates it has and what its state is made of.
    """

    num_gates: ClassVar[int]
    parity_draws_like_builtin: ClassVar[bool] = True  # dropout takes torch.nn's random numbers, for the judge to check
    rank_error: ClassVar[str] = "{}: Expected input to be 2D or 3D, got {}D instead"
    packed_dtype_error: ClassVar[type[Exception]] = ValueError

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int,
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
        self.proj_size = proj_size
        checks.check_options(input_size, hidden_size, num_layers, bias, batch_first, dropout)
        checks.check_projection(proj_size, hidden_size)
        self._weight_names = self._register_parameters(device, dtype)
        self.reset_parameters()

    def _register_parameters(self, device: Device, dtype: torch.dtype | None) -> list[dict[str, str]]:
        """Make the parameters; return, for each layer and direction, the name of each weight of its step."""
        gates, out = self.num_gates * self.hidden_size, self._output_size
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
        return [[getattr(self, name) for name in names.values()] for names in self._weight_names]

    @property
    def _output_size(self) -> int:
        return self.proj_size if self.proj_size > 0 else self.hidden_size

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
            RuntimeError: the input has no step or a wrong number of features, the state has a wrong shape,
                rank or dtype, or the tensors are on different devices.
        """
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.dim() not in (2, 3):
            raise ValueError(self.rank_error.format(type(self).__name__, input.dim()))
        batched = input.dim() == 3
        if hx is not None:
            checks.check_state_rank(self._tensors(hx), batched)
        if not batched:
            input = input.unsqueeze(1)
            hx = None if hx is None else map_state(lambda s: s.unsqueeze(1), hx)
        elif self.batch_first:
            input = input.transpose(0, 1)
        output, state = self._run(input, hx)
        if not batched:
            return output.squeeze(1), map_state(lambda s: s.squeeze(1), state)
        return (output.transpose(0, 1) if self.batch_first else output), state

    def _forward_packed(self, input: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        """Run over packed input: its sequences are sorted by length, so the state is sorted too, and back."""
        if hx is not None and input.sorted_indices is not None:
            hx = map_state(lambda s: s.index_select(1, input.sorted_indices), hx)
        output, state = self._run(input, hx)
        if input.unsorted_indices is not None:
            state = map_state(lambda s: s.index_select(1, input.unsorted_indices), state)
        return output, state

    def _run(self, input: Tensor | PackedSequence, hx: Any) -> tuple[Any, Any]:
        """Check what was given against the parameters, then run the layers over it."""
        weights = self.all_weights
        dtype = weights[0][0].dtype
        if isinstance(input, PackedSequence):
            data, batch = input.data, int(input.batch_sizes[0])
            checks.check_input(data, 2, self.input_size, dtype, self.packed_dtype_error)
            checks.check_batch_sizes(input.batch_sizes.tolist(), data.size(0))
        else:
            data, batch = input, input.size(1)
            checks.check_input(data, 3, self.input_size, dtype, ValueError)
        shapes = self._state_shapes(batch)
        if hx is None:
            hx = self._state([torch.zeros(shape, dtype=data.dtype, device=data.device) for shape in shapes])
        states = self._tensors(hx)
        checks.check_state_shapes(states, shapes)
        checks.check_devices(data, states, [weight for layer in weights for weight in layer])
        checks.check_state_dtypes(states, dtype)
        checks.check_steps(data)
        return self._layers(weights)(input, hx)

    def _layers(self, weights: list[list[Tensor]]) -> Layer:
        """One layer for each direction, in pairs where there are two, stacked."""
        layers = [
            self._layer(**dict(zip(names, tensors, strict=True)))
            for names, tensors in zip(self._weight_names, weights, strict=True)
        ]
        if self.bidirectional:
            layers = [Bidirectional(*pair) for pair in zip(layers[::2], layers[1::2], strict=True)]
        return Stacked(layers, self.dropout if self.training else 0.0)

    def _layer(self, **weights: Tensor) -> Layer:
        """One layer in one direction."""
        return Unrolled(self._step(**weights))

    def _step(self, **weights: Tensor) -> Step:
        """The step function of one layer in one direction."""
        raise NotImplementedError

    def _state_shapes(self, batch: int) -> list[tuple[int, int, int]]:
        """The shape of each tensor of the state."""
        states = self.num_layers * (2 if self.bidirectional else 1)
        return [(states, batch, self._output_size)]

    def _tensors(self, hx: Any) -> tuple[Tensor, ...]:
        """The tensors of a state."""
        return (hx,)

    def _state(self, tensors: list[Tensor]) -> Any:
        """The state made of these tensors: the inverse of `_tensors`."""
        return tensors[0]
