"""The axes of the oracle, drawn once, and the ways in, out and along them.

    sequence   [ seq_len | copies | directions | batch | features ]
    state                [ copies | directions | batch | features ]      and each step of a sequence
    weight               [ copies | directions | rows  | columns  ]      a bias has one row
                              |          |
                              |          +-- 0 reads from the first step, 1 (if there is one) from the last
                              +-- 0 is exact, the others are those that the rounding perturbs

Both directions and all copies run at once. Between layers a sequence is in the order of time: there its directions
lie side by side in the features, and the axis "directions" has length 1.

    in time        x_0  x_1  x_2  x_3          lengths 4 and 2
                   y_0  y_1   .    .

    as it is read  x_0  x_1  x_2  x_3     by direction 0,     x_3  x_2  x_1  x_0     by direction 1
                   y_0  y_1   .    .                          y_1  y_0   .    .

The caller's arrays are those of torch.nn: (seq_len, batch, features), (num_layers * num_directions, batch, features).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from .rounding import Array, Numbers, Rounding, concatenate, where

N = TypeVar("N", bound=Numbers | None)  # c is None in a cell without one


class Axes:
    """The axes of one run.

    Args:
        seq_len: steps.
        directions: 1 or 2.
        lengths: one per sequence, None where all have seq_len steps.
        rounding: of the numbers, and how many copies there are of them.
    """

    def __init__(self, seq_len: int, directions: int, lengths: Sequence[int] | None, rounding: Rounding) -> None:
        self.seq_len, self.directions, self.rounding = seq_len, directions, rounding
        self._active: Array | None = None  # (seq_len, batch, 1): the step is within the sequence
        self._reversed: Array | None = None  # (seq_len, 1, 1, batch, 1): the step that is read in its place
        if lengths is not None:
            t, ends = np.arange(seq_len)[:, None], np.asarray(lengths)
            self._active = (t < ends)[..., None]
            self._reversed = np.where(t < ends, ends - 1 - t, t)[:, None, None, :, None]

    # in

    def sequence(self, x: Array) -> Numbers:
        """Take (seq_len, batch, features) in, in the order of time."""
        return self._copied(x[:, None, None])

    def state(self, rows: Array, layer: int) -> Numbers:
        """Take a layer's part of (num_layers * num_directions, batch, features) in."""
        return self._copied(rows[None, layer * self.directions : (layer + 1) * self.directions])

    def parameter(self, of_directions: Sequence[Array]) -> Numbers:
        """Take a parameter of each direction in, (rows, columns) or (rows)."""
        return self._copied(np.stack([w.reshape(-1, w.shape[-1]) for w in of_directions])[None])

    def _copied(self, x: Array) -> Numbers:
        return Numbers(np.broadcast_to(x, (*x.shape[:-4], self.rounding.copies, *x.shape[-3:])), self.rounding)

    # out: the copies come first

    def of_sequence(self, x: Numbers) -> Array:
        """Give (copies, seq_len, batch, features) back, of a sequence in the order of time."""
        return x.array[:, :, 0].swapaxes(0, 1)

    def of_states(self, layers: Sequence[Numbers]) -> Array:
        """Give (copies, num_layers * num_directions, batch, features) back."""
        return concatenate(layers, axis=1).array

    # along

    def as_read(self, x: Numbers) -> Numbers:
        """Give each direction the sequence as it reads it."""
        return concatenate((x, self._flip(x)), axis=2) if self.directions == 2 else x

    def in_time(self, x: Numbers) -> list[Numbers]:
        """Take the directions apart, each with its steps in the order of time."""
        return [x[:, :, :1], self._flip(x[:, :, 1:])] if self.directions == 2 else [x]

    def sides_as_read(self, x: Numbers) -> Numbers:
        """Take apart what lies side by side in the features, and give each direction its side as it reads it."""
        if self.directions == 1:
            return x
        size = x.shape[-1] // 2
        return concatenate((x[..., :size], self._flip(x[..., size:])), axis=2)

    def _flip(self, x: Numbers) -> Numbers:
        """Reverse each sequence within its own length."""
        if self._reversed is None:
            return x[::-1]
        return Numbers(np.take_along_axis(x.array, self._reversed, 0), x.rounding)

    def until_end(self, t: int, x: N, otherwise: Numbers | None = None) -> N | Numbers:
        """Keep a step's x where the sequence still runs at step t; beyond its end take the other, or zero."""
        return x if self._active is None or x is None else where(self._active[t], x, otherwise)

    def within(self, x: Numbers) -> Numbers:
        """Make a sequence zero beyond each one's length: a NaN is not even multiplied with zero there."""
        return x if self._active is None else where(self._active[:, None, None], x)
