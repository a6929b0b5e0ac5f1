"""What a layer refuses, in the words of torch.nn: constructor arguments, input and state."""

import itertools
import numbers
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def check_options(
    input_size: object,
    hidden_size: object,
    num_layers: int,
    bias: object,
    batch_first: object,
    dropout: Any,
) -> None:
    """Refuse the constructor arguments that torch.nn.RNN, GRU and LSTM refuse.

    Raises:
        ValueError: a size or the number of layers is not positive, or dropout is not a number in [0, 1].
        TypeError: a size is no int, or a flag is no bool.
    """
    is_number = isinstance(dropout, numbers.Number) and not isinstance(dropout, bool)
    if not is_number or not 0 <= dropout <= 1:
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
            f"num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}",
            stacklevel=4,  # where the layer is constructed
        )
    for name, flag in (("bias", bias), ("batch_first", batch_first)):
        if not isinstance(flag, bool):
            raise TypeError(f"{name} should be of type bool, got: {type(flag).__name__}")
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
        if not isinstance(size, int):
            raise TypeError(f"{name} should be of type int, got: {type(size).__name__}")
        if size <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if num_layers <= 0:
        raise ValueError("num_layers must be greater than zero")


def check_projection(proj_size: int, hidden_size: int) -> None:
    """Refuse a projection that is negative, or not smaller than the hidden state.

    Raises:
        ValueError: proj_size is not in [0, hidden_size).
    """
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


def check_unsupported(kind: str, options: dict[str, object]) -> None:
    """Refuse the keyword arguments that RNN and GRU do not have, the LSTM's projection by its name.

    Raises:
        ValueError: `proj_size` is among them.
        TypeError: there is any other.
    """
    if "proj_size" in options:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
    for name in options:
        raise TypeError(f"{kind}.__init__() got an unexpected keyword argument '{name}'")


def check_nonlinearity(nonlinearity: object) -> None:
    """Refuse a nonlinearity other than "tanh" and "relu".

    Raises:
        ValueError: it is another.
    """
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")


def check_state_rank(states: Sequence[Tensor], batched: bool) -> None:
    """Refuse a state whose rank is not that of the padded input.

    Raises:
        RuntimeError: a tensor is not 3-D for batched input, or not 2-D for unbatched input.
    """
    rank = 3 if batched else 2
    if all(state.dim() == rank for state in states):
        return
    expected = f"For {'batched' if batched else 'unbatched'} {rank}-D input, "
    if len(states) == 1:
        raise RuntimeError(f"{expected}hx should also be {rank}-D but got {states[0].dim()}-D tensor")
    got = ", ".join(f"{state.dim()}-D" for state in states)
    raise RuntimeError(f"{expected}hx and cx should also be {rank}-D but got ({got}) tensors")


def check_input(input: Tensor, rank: int, input_size: int, dtype: torch.dtype, dtype_error: type[Exception]) -> None:
    """Refuse input whose dtype, rank or number of features is wrong.

    Raises:
        ValueError: the dtype differs (or `dtype_error`, where torch.nn raises another class).
        RuntimeError: the rank or the number of features differs.
    """
    if input.dtype != dtype and not torch.is_autocast_enabled(input.device.type):
        raise dtype_error(
            f"RNN input dtype ({input.dtype}) does not match weight dtype ({dtype}). "
            f"Convert input: input.to({dtype}), or convert model: model.to({input.dtype})"
        )
    if input.dim() != rank:
        raise RuntimeError(f"input must have {rank} dimensions, got {input.dim()}")
    if input.size(-1) != input_size:
        raise RuntimeError(f"input.size(-1) must be equal to input_size. Expected {input_size}, got {input.size(-1)}")


def check_state_shapes(states: Sequence[Tensor], shapes: Sequence[tuple[int, int, int]]) -> None:
    """Refuse a state of the wrong shape.

    Raises:
        RuntimeError: a shape differs.
    """
    for name, state, shape in zip(_state_names(states), states, shapes, strict=True):
        if state.size() != shape:
            raise RuntimeError(f"Expected {name} size {shape}, got {list(state.size())}")


def check_state_dtypes(states: Sequence[Tensor], dtype: torch.dtype) -> None:
    """Refuse a state of another dtype than the weights'.

    Raises:
        RuntimeError: a dtype differs.
    """
    for name, state in zip(_state_names(states), states, strict=True):
        if state.dtype != dtype and not torch.is_autocast_enabled(state.device.type):
            raise RuntimeError(f"Expected {name} dtype {dtype}, got {state.dtype}")


def _state_names(states: Sequence[Tensor]) -> list[str]:
    return ["hidden"] if len(states) == 1 else [f"hidden[{k}]" for k in range(len(states))]


def check_pair(hx: object, caller: str = "lstm") -> None:
    """Refuse a state of the LSTM that is no pair (h, c).

    Raises:
        TypeError: it is a single tensor.
        RuntimeError: it has more or fewer tensors.
    """
    if isinstance(hx, Tensor):
        raise TypeError(f"{caller}(): hx must be a tuple of two Tensors (h, c), not a Tensor")
    if isinstance(hx, tuple | list) and len(hx) != 2:
        raise RuntimeError(f"{caller} expects two hidden states")


def check_batch_sizes(batch_sizes: Sequence[int], rows: int) -> None:
    """Refuse packed input whose batch grows from one step to the next, or does not add up to its rows.

    Raises:
        RuntimeError: the batch sizes are no lengths sorted from long to short.
    """
    if any(later > earlier for earlier, later in itertools.pairwise(batch_sizes)) or sum(batch_sizes) != rows:
        raise RuntimeError(
            f"batch_sizes of packed input must never grow and add up to {rows} rows, got {list(batch_sizes)}"
        )


def check_steps(data: Tensor) -> None:
    """Refuse sequences without a step.

    Raises:
        RuntimeError: the time axis is empty.
    """
    if data.size(0) == 0:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")


def check_devices(input: Tensor, states: Sequence[Tensor], weights: Sequence[Tensor]) -> None:
    """Refuse tensors on different devices.

    Raises:
        RuntimeError: a state or a weight is not where the input is.
    """
    for role, tensors in (("hidden", states), ("parameter", weights)):
        for tensor in tensors:
            if tensor.device != input.device:
                raise RuntimeError(
                    f"Input and {role} tensors are not at the same device, found input tensor at "
                    f"{input.device} and {role} tensor at {tensor.device}"
                )


def check_cell_ranks(cell: str, input: Tensor, states: Sequence[Tensor], state_names: Sequence[str]) -> None:
    """Refuse input or states of a cell that are neither 1-D nor 2-D.

    Raises:
        ValueError: one of them is not.
    """
    for name, tensor in [("input", input), *zip(state_names, states, strict=False)]:
        if tensor.dim() not in (1, 2):
            raise ValueError(f"{cell}: Expected {name} to be 1D or 2D, got {tensor.dim()}D instead")


def check_cell_sizes(input: Tensor, states: Sequence[Tensor], input_size: int, hidden_size: int) -> None:
    """Refuse a batch of inputs and states whose sizes are not the cell's, or not the same.

    Raises:
        RuntimeError: the rank or a size of one of them differs.
    """
    if input.size(1) != input_size:
        raise RuntimeError(f"input has inconsistent input_size: got {input.size(1)} expected {input_size}")
    for k, state in enumerate(states):
        if state.dim() != 2:
            raise RuntimeError(f"Expected 2D hidden{k} (batch x hidden_size), but got {state.dim()}D tensor")
        if state.size(0) != input.size(0):
            raise RuntimeError(f"Input batch size {input.size(0)} doesn't match hidden{k} batch size {state.size(0)}")
        if state.size(1) != hidden_size:
            raise RuntimeError(f"hidden{k} has inconsistent hidden_size: got {state.size(1)}, expected {hidden_size}")
