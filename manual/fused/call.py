"""One call of a layer, as the engines are handed it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from ..layers import under_autocast
from ..sequences import Layer

# Weights of each direction, by name -> the layer that steps over time.
MakeLayer: TypeAlias = Callable[[list[dict[str, Tensor]]], Layer]


@dataclass
class Call:
    """A layer of one direction or of two, and what it is called with.

    Args:
        cell: "tanh" or "relu" for the RNN, "GRU" or "LSTM".
        make_layer: makes the same layer, step by step, from such weights.
        weights: of each direction: weight_ih, weight_hh, bias_ih and bias_hh where the layer has them, and weight_hr
            where the LSTM has a projection.
        data: padded input (seq, batch, input), or packed data (rows, input).
        batch_sizes: of packed data, how many sequences reach each step; None for padded input.
        states: h_0, and c_0 for the LSTM, (directions, batch, features).
    """

    cell: str
    make_layer: MakeLayer
    weights: list[dict[str, Tensor]]
    data: Tensor
    batch_sizes: Tensor | None
    states: Sequence[Tensor]

    def tensors(self) -> list[Tensor]:
        """All of its tensors."""
        return [self.data, *self.states, *(w for of_direction in self.weights for w in of_direction.values())]


@runtime_checkable
class Engine(Protocol):
    """What computes a layer over all steps at once."""

    def takes(self, call: Call) -> bool:
        """Whether it can compute this call, of tensors that `can_fuse` lets pass."""
        ...

    def run(self, call: Call) -> Sequence[Tensor]:
        """Return output, as the data, and the final states, as the initial ones, differentiable where asked for."""
        ...


def can_fuse(call: Call) -> bool:
    """Whether an engine may compute a call at all; else it is left to autograd, step by step.

    Engines take plain tensors of one real dtype on one device. They do not take what looks into each operation: the
    transforms of torch.func, forward-mode derivatives, tracing, compiling, autocast and subclasses of Tensor.
    """
    dtype, device = call.data.dtype, call.data.device
    tensors = call.tensors()
    return not (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._are_functorch_transforms_active()
        or under_autocast(device.type)
        or not dtype.is_floating_point
        or any(t.dtype != dtype or t.device != device or t.layout != torch.strided for t in tensors)
        or any(type(t) not in (Tensor, nn.Parameter) for t in tensors)
        or (forward_ad._current_level >= 0 and any(map(_is_dual, tensors)))
    )


def _is_dual(tensor: Tensor) -> bool:
    return forward_ad.unpack_dual(tensor).tangent is not None  # type: ignore[no-untyped-call]


def tracks_gradients(call: Call) -> bool:
    """Whether autograd is to record the call."""
    return torch.is_grad_enabled() and any(t.requires_grad for t in call.tensors())
