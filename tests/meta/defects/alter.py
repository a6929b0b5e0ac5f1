"""Helpers of the entries: gradients that are not those of the value, weights by name, memory read another way."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Weights = dict[str, Tensor]


class _Altered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.change = change
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.change(gradient), None


def altered(x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Return x, whose gradient becomes change(gradient)."""
    return _Altered.apply(x, change)


def doubled(gradient: Tensor) -> Tensor:
    return 2 * gradient


def refuse(gradient: Tensor) -> Tensor:
    raise NotImplementedError("backward is not implemented for this")


def differentiable_once(gradient: Tensor) -> Tensor:
    return altered(gradient, refuse)


def with_weight(w: Weights, name: str, change: Callable[[Tensor], Tensor]) -> Weights:
    """Return the weights with one of them changed, where there is one of that name."""
    return {**w, name: change(w[name])} if name in w else w


def each(hx: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Change h_0, or h_0 and c_0; absent stays absent."""
    return hx if hx is None else tuple(map(change, hx)) if isinstance(hx, tuple) else change(hx)


def read_with(strides: Sequence[int], x: Tensor) -> Tensor:
    """Return what is in x's memory in other strides, x itself where there is not so much memory."""
    behind = x.untyped_storage().nbytes() // x.element_size() - x.storage_offset()
    reach = 1 + sum((size - 1) * stride for size, stride in zip(x.shape, strides, strict=True))
    return x if behind < reach else x.as_strided(x.shape, strides)


def read_as_contiguous(x: Tensor) -> Tensor:
    """Return what is in x's memory from its first element on."""
    return read_with(torch.empty(x.shape, device="meta").stride(), x)
