"""What goes in and out of every layer: a batch of sequences, padded or packed, and a state."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

# A batch of sequences: padded to one length, or packed with data (rows, features).
Sequences: TypeAlias = Float[Tensor, "seq batch _"] | PackedSequence

# A state: h, or (h, c) for the LSTM. The first axis of a layer's state counts layers and directions.
State: TypeAlias = Float[Tensor, "_ batch _"] | tuple[Float[Tensor, "_ batch _"], ...]
StepState: TypeAlias = Float[Tensor, "batch _"] | tuple[Float[Tensor, "batch _"], ...]

Device: TypeAlias = torch.device | str | int | None


@runtime_checkable
class Layer(Protocol):
    """Anything that is called as the layers of torch.nn are."""

    def __call__(self, input: Any, state: Any, /) -> tuple[Any, Any]:
        """Run over the sequences from an initial state: return output and final state, shaped as these."""
        ...


def map_data(function: Callable[..., Tensor], *sequences: Sequences) -> Sequences:
    """Apply a function to the features of sequences that are all padded, or all packed in the same way.

    Args:
        function: takes as many tensors as there are sequences, keeps every axis but the last.
        sequences: padded (seq, batch, features), or packed with data (rows, features).

    Returns:
        The sequences that the function makes, padded or packed as the first.
    """
    first = sequences[0]
    if isinstance(first, PackedSequence):
        return PackedSequence(function(*(packed.data for packed in sequences)), *first[1:])
    return function(*sequences)


def flip_time(sequences: Sequences) -> Sequences:
    """Reverse time, each sequence within its own length.

    Args:
        sequences: padded (seq, batch, features), or packed with data (rows, features).

    Returns:
        The reversed sequences, padded or packed as they came.
    """
    if isinstance(sequences, PackedSequence):
        rows = _reversed_rows(sequences.batch_sizes).to(sequences.data.device)
        return map_data(lambda data: data.index_select(0, rows), sequences)
    return sequences.flip(0)


def _reversed_rows(batch_sizes: Int[Tensor, " seq"]) -> Int[Tensor, " rows"]:
    """For each row of packed data, the row that takes its place when every sequence is reversed."""
    t = torch.arange(len(batch_sizes)).repeat_interleave(batch_sizes)  # step of each row
    first_row = batch_sizes.cumsum(0) - batch_sizes  # of each step
    b = torch.arange(len(t)) - first_row[t]  # sequence of each row
    length = (batch_sizes.unsqueeze(1) > torch.arange(int(batch_sizes[0]))).sum(0)  # of each sequence
    return first_row[length[b] - 1 - t] + b


def map_state(function: Callable[..., Tensor], *states: Any) -> Any:
    """Apply a function to the tensors of one or more states of the same structure.

    Args:
        function: takes as many tensors as there are states.
        states: each a tensor, or each a tuple of as many tensors.

    Returns:
        The state that the function makes, of the same structure.
    """
    if isinstance(states[0], Tensor):
        return function(*states)
    return tuple(function(*tensors) for tensors in zip(*states, strict=True))


def split_state(state: State, parts: int) -> list[State]:
    """Cut a state into equal parts along its first axis, the one that counts layers and directions."""
    return [map_state(lambda s, part=part: s.chunk(parts)[part], state) for part in range(parts)]


def join_states(states: list[State]) -> State:
    """Put states one after the other along their first axis: the inverse of `split_state`."""
    joined: State = map_state(lambda *tensors: torch.cat(tensors), *states)
    return joined
