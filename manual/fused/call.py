"""One call of a layer, as the engines are handed it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from ..layers import under_autocast
from ..sequences import Layer

GATES = {"tanh": 1, "relu": 1, "GRU": 3, "LSTM": 4}  # by cell
PLAIN = (Tensor, nn.Parameter)
# Of each direction, in the order in which engines are handed them.
WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
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

    @cached_property
    def tensors(self) -> list[Tensor | None]:
        """Data, states, and the weights of each direction in the order of `WEIGHTS`, None where one is absent."""
        return [self.data, *self.states, *(of_direction.get(name) for of_direction in self.weights for name in WEIGHTS)]


@runtime_checkable
class Passes(Protocol):
    """A layer over all steps of a call, forward and backward."""

    def forward(self, tensors: Sequence[Any], keep: bool) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Compute the layer.

        Args:
            tensors: those of the call.
            keep: whether a backward pass may follow.

        Returns:
            output, as the data, and the final states, as the initial ones.
            what the backward pass needs beside the tensors, nothing unless `keep`.
        """
        ...

    def backward(
        self,
        tensors: Sequence[Any],
        kept: Sequence[Tensor],
        needs: Sequence[bool],
        cotangents: Sequence[Tensor | None],
    ) -> Sequence[Tensor | None]:
        """Compute the gradients of the layer's tensors.

        Args:
            tensors: those of the call.
            kept: what the forward pass kept.
            needs: which gradients are asked for.
            cotangents: of output and final states, None for zero.

        Returns:
            the gradients, None for what needs none.
        """
        ...


@runtime_checkable
class Engine(Protocol):
    """What computes a layer over all steps at once."""

    def takes(self, call: Call) -> bool:
        """Whether it can compute this call, of tensors that `can_fuse` lets pass."""
        ...

    def passes(self, call: Call) -> Passes:
        """How it computes this call: what depends on sizes, and holds no tensor of it."""
        ...


def can_fuse(call: Call) -> bool:
    """Whether an engine may compute a call at all; else it is left to autograd, step by step.

    Engines take plain tensors of one real dtype on one device. They do not take what looks into each operation: the
    transforms of torch.func, forward-mode derivatives, tracing, compiling, autocast and subclasses of Tensor.
    """
    dtype, device = call.data.dtype, call.data.device
    if (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._are_functorch_transforms_active()
        or under_autocast(device.type)
        or not dtype.is_floating_point
    ):
        return False
    has_duals = forward_ad._current_level >= 0
    for t in call.tensors:
        if t is not None and (
            type(t) not in PLAIN
            or t.dtype != dtype
            or t.device != device
            or t.layout != torch.strided
            or (has_duals and _is_dual(t))
        ):
            return False
    return True


def _is_dual(tensor: Tensor) -> bool:
    return forward_ad.unpack_dual(tensor).tangent is not None  # type: ignore[no-untyped-call]
