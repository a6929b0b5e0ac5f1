"""Layers that are right, each in another order of operations: nothing of what they do may be flagged."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._decomp import decompositions
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.overrides import TorchFunctionMode

from rnn_parity.reference.builtin import LAYERS

from .plain import PLAIN

MANUAL = {kind: f"rnn_parity.manual:{kind.upper()}" for kind in LAYERS}

# PyTorch's own decompositions of its layers into simpler operations: for a padded input, and for a packed one.
DECOMPOSITIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "rnn_tanh": (decompositions.rnn_tanh_input, decompositions.rnn_tanh_data),
    "rnn_relu": (decompositions.rnn_relu_input, decompositions.rnn_relu_data),
    "gru": (decompositions.gru_impl, decompositions.gru_impl_data),
    "lstm": (decompositions.lstm_impl, decompositions.lstm_data_impl),
}


class Decomposing(TorchFunctionMode):
    """Runs the decomposition wherever a layer of `torch.nn` calls its kernel."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        pair = DECOMPOSITIONS.get(getattr(func, "__name__", ""))
        if pair is None:
            return func(*args, **(kwargs or {}))
        padded, packed = pair
        return (padded if isinstance(args[2], list) else packed)(*args)


class _Decomposed(nn.Module):
    """Right but for two things in torch 2.15.

    It never drops anything (`_rnn_helper` asks for `num_layers < i - 1`), and takes oneDNN's LSTM, which is for
    inference, for training too where the input requires no gradient.
    """

    parity_unsupported = ("dropout",)

    def forward(self, input: Any, hx: Any = None) -> Any:
        with torch.backends.mkldnn.flags(enabled=False), Decomposing():
            return super().forward(input, hx)


class _Halved(nn.Module):
    """Runs the two halves of the batch one after the other."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        packed = isinstance(input, PackedSequence)
        if not packed and input.dim() == 2:
            return super().forward(input, hx)
        x, lengths = pad_packed_sequence(input, self.batch_first) if packed else (input, None)  # type: ignore[arg-type]
        batch_axis = 0 if self.batch_first else 1
        outputs, states = [], []
        for rows in torch.arange(x.shape[batch_axis]).tensor_split(2):
            if len(rows):
                of_rows = self.on_rows(x, lengths, hx, rows, batch_axis)
                output, state = super().forward(*of_rows)
                outputs.append(self.as_long_as(x, output))
                states.append(state if isinstance(state, tuple) else (state,))
        output = torch.cat(outputs, batch_axis)
        joined = tuple(torch.cat(parts, 1) for parts in zip(*states, strict=True))
        return self.like(input, output, lengths), joined if len(joined) > 1 else joined[0]

    def on_rows(self, x: Tensor, lengths: Any, hx: Any, rows: Tensor, batch_axis: int) -> tuple[Any, Any]:
        part: Any = x.index_select(batch_axis, rows.to(x.device))
        if lengths is not None:
            part = pack_padded_sequence(part, lengths[rows], self.batch_first, enforce_sorted=False)  # type: ignore[arg-type]
        if hx is None:
            return part, None
        first, last = int(rows[0]), int(rows[-1]) + 1
        return part, tuple(s[:, first:last] for s in hx) if isinstance(hx, tuple) else hx[:, first:last]

    def as_long_as(self, x: Tensor, output: Any) -> Tensor:
        if not isinstance(output, PackedSequence):
            return output  # type: ignore[no-any-return]
        steps = x.shape[1 if self.batch_first else 0]
        return pad_packed_sequence(output, self.batch_first, total_length=steps)[0]  # type: ignore[arg-type]

    def like(self, input: Any, output: Tensor, lengths: Any) -> Any:
        if lengths is None:
            return output
        order = input.sorted_indices
        if order is not None:
            output, lengths = output.index_select(0 if self.batch_first else 1, order), lengths[order.cpu()]
        data = pack_padded_sequence(output, lengths, self.batch_first).data  # type: ignore[arg-type]
        return PackedSequence(data, input.batch_sizes, input.sorted_indices, input.unsorted_indices)


def _named(name: str, kind: str, style: type[nn.Module]) -> type[nn.Module]:
    # Importable by name, MODULE:ATTRIBUTE, as a reproducer needs it.
    layer = type(f"{name}{kind.upper()}", (style, LAYERS[kind]), {"__module__": __name__})
    globals()[layer.__name__] = layer
    return layer


DECOMPOSED = {kind: _named("Decomposed", kind, _Decomposed) for kind in LAYERS}
HALVED = {kind: _named("Halved", kind, _Halved) for kind in LAYERS}

# What it is: the layer for each kind.
RIGHT: dict[str, dict[str, Any]] = {
    "torch.nn": LAYERS,
    "manual": MANUAL,
    "torch._decomp": DECOMPOSED,
    "gates in one product": PLAIN,
    "batch split in two": HALVED,
}
