"""What goes in and out of every layer: a batch of sequences, padded to one length or packed."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

# A batch of sequences: padded to one length, or packed with data (rows, features).
Sequences: TypeAlias = Float[Tensor, "seq batch _"] | PackedSequence


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

    Padded, both sequences of this batch have three steps; packed, the second has two:

    >>> from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
    >>> x = torch.tensor([[1.0, 4.0], [2.0, 5.0], [3.0, 0.0]]).unsqueeze(2)  # (seq, batch, features)
    >>> flip_time(x).squeeze(2).tolist()
    [[3.0, 0.0], [2.0, 5.0], [1.0, 4.0]]
    >>> pad_packed_sequence(flip_time(pack_padded_sequence(x, [3, 2])))[0].squeeze(2).tolist()
    [[3.0, 5.0], [2.0, 4.0], [1.0, 0.0]]

    Args:
        sequences: padded (seq, batch, features), or packed with data (rows, features).

    Returns:
        The reversed sequences, padded or packed as they came.
    """
    if isinstance(sequences, PackedSequence):
        rows = _reversed_rows(placed(sequences.batch_sizes, sequences.data.device), sequences.batch_sizes)
        return map_data(lambda data: data.index_select(0, rows), sequences)
    return sequences.flip(0)


def placed(numbers: Int[Tensor, " n"], device: torch.device) -> Int[Tensor, " n"]:
    """Return whole numbers of the CPU on a device: to CUDA as arguments of a kernel, since a copy would wait for it."""
    if device.type != "cuda":
        return numbers.to(device)
    there = torch.zeros(len(numbers), dtype=numbers.dtype, device=device)
    torch._foreach_add_(there.unbind(0), numbers.tolist())
    return there


def _reversed_rows(batch_sizes: Int[Tensor, " seq"], on_host: Int[Tensor, " seq"]) -> Int[Tensor, " rows"]:
    """For each row of packed data, the row that takes its place when every sequence is reversed.

    Args:
        batch_sizes: where the rows are to be.
        on_host: the same, which tells sizes without waiting for a device.
    """
    device = batch_sizes.device
    rows, batch = int(on_host.sum()), int(on_host[0])
    # The step of each row.
    t = torch.arange(len(batch_sizes), device=device).repeat_interleave(batch_sizes, output_size=rows)
    first_row = batch_sizes.cumsum(0) - batch_sizes  # of each step
    b = torch.arange(rows, device=device) - first_row[t]  # sequence of each row
    length = (batch_sizes.unsqueeze(1) > torch.arange(batch, device=device)).sum(0)  # of each sequence
    source: Tensor = first_row[length[b] - 1 - t] + b
    return source
