"""A recurrence over all steps: its rows lie step below step, and a kind of layer says what it computes over them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

BY_SIGMOID = 1024  # elements of a step: with fewer, one operation more costs more than the faster tanh saves


class Steps:
    """The steps of sequences whose rows lie one step below the other, the longest sequence first in each.

    So packed data lies; padded sequences are packed data whose batch never shrinks, and a view of their own memory.
    What all steps have in common is then one operation on all rows, and a step is a slice of them.

    Args:
        batch_sizes: how many sequences reach each step, never growing.
    """

    def __init__(self, batch_sizes: Sequence[int]) -> None:
        self.batch_sizes = list(batch_sizes)
        self.batch = self.batch_sizes[0]
        self.rows = sum(self.batch_sizes)
        self.even = self.batch_sizes[-1] == self.batch

    def split(self, rows: Shaped[Tensor, "rows ..."]) -> Sequence[Shaped[Tensor, "batch_t ..."]]:
        """Return the rows of each step, as views."""
        if self.even:
            return rows.view(len(self.batch_sizes), self.batch, *rows.shape[1:]).unbind(0)
        return torch.split(rows, self.batch_sizes)

    def before(
        self, initial: Float[Tensor, "batch ..."], steps: Sequence[Tensor]
    ) -> list[Float[Tensor, "batch_t ..."]]:
        """Return what the sequences of each step had at the step before, as views: `initial` at the first."""
        earlier = [initial, *steps[:-1]]
        if self.even:
            return earlier
        return [rows[:size] for rows, size in zip(earlier, self.batch_sizes, strict=True)]

    def leading(self, state: Float[Tensor, "batch ..."]) -> list[Float[Tensor, "batch_t ..."]]:
        """Return, for each step, the rows of a state whose sequences reach it, as views."""
        return [state if size == self.batch else state[:size] for size in self.batch_sizes]

    def room_after(self, initial: Float[Tensor, "batch ..."]) -> Float[Tensor, "all_rows ..."]:
        """Return a copy of an initial state with room below it for the rows of all steps."""
        whole = initial.new_empty(self.batch + self.rows, *initial.shape[1:])
        whole[: self.batch] = initial
        return whole

    def rows_before(self, whole: Float[Tensor, "all_rows ..."]) -> Float[Tensor, "rows ..."]:
        """Return, for the rows of all steps, the row of the same sequence at the step before.

        Args:
            whole: the initial state, and below it the rows of all steps.
        """
        if self.even:
            return whole[: self.rows]
        return torch.cat(self.before(whole[: self.batch], self.split(whole[self.batch :])))

    def last(self, rows: Float[Tensor, "rows ..."]) -> Float[Tensor, "batch ..."]:
        """Return the last row of each sequence."""
        if self.even:
            return rows[self.rows - self.batch :]
        return torch.cat([rows[first:end] for first, end, _ in reversed(self._ends())])

    def add_to_last(self, rows: Float[Tensor, "rows ..."], state: Float[Tensor, "batch ..."]) -> None:
        """Add a state to the last row of each sequence, in place."""
        for first, end, sequence in self._ends():
            rows[first:end] += state[sequence : sequence + end - first]

    def _ends(self) -> list[tuple[int, int, int]]:
        """Return, for each step where sequences end, their rows (first, past the last) and the first of them."""
        ends, row = [], 0
        for size, remaining in pairwise([*self.batch_sizes, 0]):
            if remaining < size:
                ends.append((row + remaining, row + size, remaining))
            row += size
        return ends


@runtime_checkable
class Recurrence(Protocol):
    """What a kind of layer computes over all steps in one direction, forward and backward."""

    def forward(
        self,
        steps: Steps,
        x: Float[Tensor, "rows input"],
        initial: Sequence[Float[Tensor, "batch hidden"]],
        h: Float[Tensor, "rows hidden"],
        weights: Sequence[Any],
        save: bool,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Compute the hidden states of all steps.

        Args:
            steps: which rows belong to which step.
            x: input of all steps.
            initial: h_0, and c_0 for the LSTM.
            h: the hidden states of all steps, to be filled.
            weights: weight_ih, weight_hh, bias_ih, bias_hh.
            save: whether a backward pass may follow.

        Returns:
            what the final state has beside h_n.
            what the backward pass needs beside h, nothing unless `save`.
        """
        ...

    def backward(
        self,
        steps: Steps,
        saved: Sequence[Tensor],
        h: Float[Tensor, "all_rows hidden"],
        dh: Float[Tensor, "all_rows hidden"],
        d_final: Sequence[Float[Tensor, "batch hidden"] | None],
        weight_hh: Float[Tensor, "gates*hidden hidden"],
    ) -> tuple[list[Tensor], Float[Tensor, "rows gates*hidden"], list[tuple[slice, Float[Tensor, "rows _"]]]]:
        """Carry the gradients from the last step to the first.

        A step has two products, W_ih x + b_ih and W_hh h_prev + b_hh, each with the rows of all its gates.

        Args:
            steps: which rows belong to which step.
            saved: what `forward` saved.
            h: h_0, and below it the hidden states of all steps.
            dh: gradients of h from outside the recurrence, to which those from within are added in place.
            d_final: gradients of what the final state has beside h_n.
            weight_hh: recurrent weights.

        Returns:
            the gradients of what the initial state has beside h_0.
            the gradients of W_hh h_prev + b_hh at all steps.
            the columns in which the gradients of W_ih x + b_ih are others than these, and what they are there.
        """
        ...


def linear_into(out: Tensor, x: Tensor, weight: Tensor, *biases: Tensor | None) -> None:
    """Write W x and the sum of the biases to `out`, for all rows; the biases may be absent."""
    present = [bias for bias in biases if bias is not None]
    if present:
        torch.addmm(sum(present[1:], present[0]), x, weight.t(), out=out)
    else:
        torch.mm(x, weight.t(), out=out)


class StepTanh:
    """tanh of what every step computes, by way of the sigmoid where that is faster: tanh(a) = 2 sigmoid(2 a) - 1.

    On the CPU PyTorch leaves the tanh of float32 and float64 to MKL, which takes three to six times as long for an
    element as PyTorch's own sigmoid. The factor of 2 goes into the weights, which changes no digit of the products.
    The error of the result is a rounding of 1, not of tanh(a): larger than that of tanh itself where a is small.

    Args:
        state: (batch, hidden), of the size, dtype and device of what the tanh is taken of.

    Attributes:
        by_sigmoid: whether it is taken by way of the sigmoid.
        factor: what a call wants its argument multiplied by, 2 then and else 1.
    """

    def __init__(self, state: Tensor) -> None:
        on_cpu = state.device.type == "cpu" and state.dtype in (torch.float32, torch.float64)
        self.by_sigmoid = on_cpu and state.numel() >= BY_SIGMOID
        self.factor = 2 if self.by_sigmoid else 1
        self._minus_one = state.new_full((), -1.0)

    def __call__(self, a: Tensor) -> Tensor:
        """Put tanh(a / factor) in the place of a."""
        return self.from_sigmoid(a.sigmoid_(), out=a) if self.by_sigmoid else a.tanh_()

    def into(self, out: Tensor, a: Tensor) -> Tensor:
        """Write tanh(a), of an a that no factor is in, to `out`."""
        return self(torch.mul(a, 2, out=out)) if self.by_sigmoid else torch.tanh(a, out=out)

    def from_sigmoid(self, s: Tensor, out: Tensor) -> Tensor:
        """Write 2 s - 1 to `out`, which may be s itself, in one operation."""
        return torch.add(self._minus_one, s, alpha=2, out=out)

    def scaled(self, weights: Sequence[Tensor | None], rows: slice = slice(None)) -> list[Any]:
        """Return weights and biases, None for one that is absent, with some rows multiplied by the factor."""
        if not self.by_sigmoid:
            return list(weights)
        copies = [None if weight is None else weight.clone() for weight in weights]
        for copy in copies:
            if copy is not None:
                copy[rows] *= self.factor
        return copies
