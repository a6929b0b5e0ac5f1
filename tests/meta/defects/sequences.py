"""Faults of time and batch: what is carried, in which order it is read, packed sequences, layouts, large sizes."""

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnn_parity.bench.plain import PlainLayer, State

from .catalogue import ALL, defect

Right = Callable[..., Any]


def _lengths_ignored(
    layer: PlainLayer, right: Right, x: Tensor, state: State, suffix: str, lengths: Tensor, backwards: bool
) -> tuple[Tensor, State]:
    return right(x, state, suffix, lengths.max().expand_as(lengths), backwards)


def _infinite_padding(layer: PlainLayer, right: Right, input: Any) -> tuple[Tensor, Tensor]:
    """Leave something in the padding that a select drops, and that 0 times its gradient does not."""
    x, lengths = right(input)
    padding = torch.arange(len(x), device=x.device)[:, None] >= lengths
    return x.masked_fill(padding[..., None], torch.inf), lengths


def _state_from_the_end(
    layer: PlainLayer, right: Right, x: Tensor, state: State, suffix: str, lengths: Tensor, backwards: bool
) -> tuple[Tensor, State]:
    """Take the forward direction's last h from the output's last step, which shorter sequences do not reach."""
    output, last = right(x, state, suffix, lengths, backwards)
    return output, last if backwards else (output[-1].T, *last[1:])


def _steps_of_first_call(
    layer: PlainLayer, right: Right, x: Tensor, state: State, suffix: str, lengths: Tensor, backwards: bool
) -> tuple[Tensor, State]:
    layer.steps = getattr(layer, "steps", len(x))
    return right(x, state, suffix, lengths.clamp(max=layer.steps), backwards)


def _padded_to_first_call(
    layer: PlainLayer, right: Right, x: Tensor, state: State, suffix: str, lengths: Tensor, backwards: bool
) -> tuple[Tensor, State]:
    layer.steps = getattr(layer, "steps", len(x))
    more = max(0, layer.steps - len(x))
    padded = torch.cat([x, x.new_zeros(more, *x.shape[1:])])
    output, last = right(padded, state, suffix, lengths + more, backwards)
    return output[: len(x)], last


def _corrupted_now_and_then(layer: PlainLayer, right: Right, x: Tensor, input: Any, lengths: Tensor) -> Any:
    corrupt = isinstance(input, PackedSequence) and random.random() < 0.2
    return right(x + 0.1 if corrupt else x, input, lengths)


def _axes_swapped(layer: PlainLayer, right: Right, x: Tensor, input: Any, lengths: Tensor) -> Any:
    output = right(x, input, lengths)
    return output if isinstance(input, PackedSequence) or input.dim() == 2 else output.transpose(0, 1)


def _read_time_first(layer: PlainLayer, right: Right, input: Any) -> tuple[Tensor, Tensor]:
    """Read batch-first memory as if time came first."""
    x, lengths = right(input)
    batch_first = layer.spec.batch_first and isinstance(input, Tensor) and input.dim() == 3
    return input.reshape(x.shape) if batch_first else x, lengths


def _memory_time_first(layer: PlainLayer, right: Right, x: Tensor, input: Any, lengths: Tensor) -> Any:
    if isinstance(input, PackedSequence) or not layer.spec.batch_first:
        return right(x, input, lengths)
    return x.reshape(right(x, input, lengths).shape)


DEFECTS = (
    defect("hidden state not carried", "burn#2701", ALL,
           carry=lambda layer, right, state, t: tuple(torch.zeros_like(s) for s in state) if t else state),
    defect("drift past step 64", "known-defects: a drift only past step 64", ALL,
           carry=lambda layer, right, state, t: tuple(s * (1 + 1e-6) for s in state) if t >= 64 else state),
    defect("wrong for a batch past 100", "pytorch#177834", ALL,
           join=lambda layer, right, halves: right([torch.cat([h[:, :100], 0 * h[:, 100:]], dim=1) for h in halves])),
    defect("reverse output not flipped", "webnn-baseline#123, keras#1674, onnxruntime#4187, onnx2tf#287", ALL,
           restore=lambda layer, right, output, lengths: output),
    defect("reverse walks over the features", "onnx2c#95", ALL,
           reorder=lambda layer, right, x, lengths: x.flip(-1), restore=lambda layer, right, output, lengths: output),
    defect("reverse flips the padding too", "jax#15183", ALL, reorder=lambda layer, right, x, lengths: x.flip(0)),
    defect("lengths of a packed batch ignored", "pytorch#95118, pytorch#48460", ALL, read=_lengths_ignored),
    defect("h_n read past a sequence's end", "near onnxruntime#1193", ALL, read=_state_from_the_end),
    defect("no more steps than the first call had", "pytorch#191855, litert-torch#1062", ALL,
           read=_steps_of_first_call),
    defect("as many steps as the first call had, zeros added", "near pytorch#191855, litert-torch#1062", ALL,
           read=_padded_to_first_call),
    defect("NaN gradients from the padding", "jax#15183", ALL, unpack=_infinite_padding),
    defect("packed output corrupted now and then", "tensorflow#60192", ALL, pack=_corrupted_now_and_then),
    defect("output with batch and time transposed", "pytorch#80306", ALL, pack=_axes_swapped),
    defect("batch_first output with its memory time first", "pytorch#80306", ALL, pack=_memory_time_first),
    defect("batch_first ignored in memory", "openvino#37820", ALL, unpack=_read_time_first, pack=_memory_time_first),
)  # fmt: skip
