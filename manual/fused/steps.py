"""Which rows belong to which step: padded and packed sequences laid out alike."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


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
        """Return a copy of the last row of each sequence."""
        if self.even:
            return rows[self.rows - self.batch :].clone()
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
