"""Numbers that round: arithmetic in which every result is rounded as the operator that made it leaves it.

The equations are written with the operators of `Numbers`. What happens to a result is the `Rounding`'s to say: `Exact`
leaves it as it is, and the judge's puts the noise of a lower precision on some copies of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@runtime_checkable
class Rounding(Protocol):
    """What happens to an intermediate result, a fresh array that may be changed: nothing, or a precision's noise."""

    copies: int

    def __call__(self, x: Array) -> Array:
        """Round a product or a sum: noise relative to x."""

    def activation(self, x: Array, a: Array) -> Array:
        """Round x, the tanh or sigma of a: noise relative to 1, however they are evaluated."""

    def kink(self, x: Array) -> Array:
        """Return x with its zeros moved to either side: at a kink any slope in between is right."""

    def total(self, x: Array, steps: int, rows: int) -> Array:
        """Round a sum over so many steps and rows of the batch: equal terms round alike, and their errors add up."""


class Exact:
    """Leaves every intermediate result as it is."""

    copies = 1

    def __call__(self, x: Array) -> Array:
        """Return x."""
        return x

    kink = __call__

    def activation(self, x: Array, a: Array) -> Array:
        """Return x."""
        return x

    def total(self, x: Array, steps: int, rows: int) -> Array:
        """Return x."""
        return x


class Numbers:
    """An array whose + - * @ round their result.

    A class of its own, not a subclass of np.ndarray: what is not written here fails instead of going unrounded, and
    no view pays for finding its rounding again.

    Args:
        array: the values, not rounded again.
        rounding: what happens to the result of each operator.
    """

    __slots__ = ("array", "rounding")

    def __init__(self, array: Array, rounding: Rounding) -> None:
        self.array = array
        self.rounding = rounding

    def __add__(self, other: Numbers) -> Numbers:
        return Numbers(self.rounding(self.array + other.array), self.rounding)

    def __sub__(self, other: Numbers) -> Numbers:
        return Numbers(self.rounding(self.array - other.array), self.rounding)

    def __rsub__(self, one: int) -> Numbers:
        return Numbers(self.rounding(one - self.array), self.rounding)

    def __mul__(self, other: Numbers) -> Numbers:
        return Numbers(self.rounding(self.array * other.array), self.rounding)

    def __matmul__(self, other: Numbers) -> Numbers:
        return Numbers(self.rounding(self.array @ other.array), self.rounding)

    def __getitem__(self, index: Any) -> Numbers:
        return Numbers(self.array[index], self.rounding)

    def rounded(self) -> Numbers:
        """Return them rounded once more, without a change to the array."""
        return Numbers(self.rounding(self.array.copy()), self.rounding)

    @property
    def T(self) -> Numbers:
        """The transpose of each matrix."""
        return Numbers(np.swapaxes(self.array, -1, -2), self.rounding)

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's, which jaxtyping looks at."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The array's, which jaxtyping looks at."""
        return self.array.dtype


def linear(x: Numbers, W: Numbers, b: Numbers | None) -> Numbers:
    """Return x W^T + b, rounded once: what is added is one more term of the product's sums."""
    product = x.array @ np.swapaxes(W.array, -1, -2)
    return Numbers(x.rounding(product if b is None else product + b.array), x.rounding)


def sigma(a: Numbers) -> Numbers:
    """Return the logistic function 1 / (1 + exp(-a))."""
    return Numbers(a.rounding.activation(1 / (1 + np.exp(-a.array)), a.array), a.rounding)


def tanh(a: Numbers) -> Numbers:
    """Return the hyperbolic tangent."""
    return Numbers(a.rounding.activation(np.tanh(a.array), a.array), a.rounding)


def relu(a: Numbers) -> tuple[Numbers, Array]:
    """Return max(a, 0), which needs no rounding, and whether its slope is 1: near the kink either side will do."""
    negative = a.rounding.kink(a.array) <= 0
    return Numbers(np.where(negative, 0, a.array), a.rounding), ~negative


def masked(x: Numbers, mask: Array) -> Numbers:
    """Return x times a mask of ones and zeros, which needs no rounding."""
    return Numbers(x.array * mask, x.rounding)


def where(condition: Array, x: Numbers, otherwise: Numbers | None = None) -> Numbers:
    """Return x where the condition holds, elsewhere the other or zero."""
    return Numbers(np.where(condition, x.array, 0 if otherwise is None else otherwise.array), x.rounding)


def split(x: Numbers, parts: int) -> list[Numbers]:
    """Take the features apart: as many equal blocks as there are gates."""
    size = x.array.shape[-1] // parts
    return [Numbers(x.array[..., k * size : (k + 1) * size], x.rounding) for k in range(parts)]


def concatenate(parts: Sequence[Numbers], axis: int = -1) -> Numbers:
    """Join along an axis that is there, the features unless told."""
    return Numbers(np.concatenate([part.array for part in parts], axis), parts[0].rounding)


def stack(steps: Iterable[Numbers]) -> Numbers:
    """Make a sequence of its steps."""
    first, *others = steps
    return Numbers(np.stack([first.array, *(step.array for step in others)]), first.rounding)
