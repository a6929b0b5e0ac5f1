"""How far an honest evaluation may land: a bound made from the oracle's own sensitivity.

There is no hand-picked rtol or atol. The oracle runs once exactly and K times with every intermediate result x
replaced by x * (1 + u * xi), xi uniform in [-1, 1] and u the unit roundoff of the dtype (Monte Carlo arithmetic).
The spread of a tensor is the largest distance of any of these from the exact run, and

    error <= F * (spread + u * max|truth|)

is what a right layer keeps to, on any device and in any order of operations.

Source: Parker, Monte Carlo Arithmetic, 1997; the factor F is measured, see `bench/calibrate.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch

from ...reference.oracle import Inputs, evaluate
from ...reference.rounding import Array
from ...reference.spec import LayerSpec

FACTOR = 32.0  # F
COPIES = 4  # K
CONFIRMING_COPIES = 64  # before a tensor is called wrong, its spread is taken from this many more runs
AT_ONCE = 8  # of them, for the sake of memory: at a tile they hold half a GiB; those of a kink are needed together
KINK = 8.0  # spreads that a right layer's argument of relu may be from the oracle's; the most measured of outputs is 6
NO_DIGITS = 0.3  # a spread above this share of max|truth| leaves nothing to judge

POOL = 1 << 16


def unit_roundoff(dtype: torch.dtype) -> float:
    """Return u, half the distance from 1 to the next number of the dtype."""
    return torch.finfo(dtype).eps / 2


def underflow(dtype: torch.dtype) -> float:
    """Return what is lost where results underflow: they may be flushed to zero, which float16 alone never is."""
    return torch.finfo(dtype).smallest_normal * (unit_roundoff(dtype) if dtype == torch.float16 else 1.0)


def oracle_dtype(dtype: torch.dtype) -> type[np.floating[Any]]:
    """Return the precision the oracle runs in: one up, float64 for all but float64 itself."""
    return np.longdouble if dtype == torch.float64 else np.float64


def longdouble_is_wider() -> bool:
    """Whether this platform's longdouble has more digits than float64; if not, float64 has no wider oracle."""
    return bool(np.finfo(np.longdouble).eps < np.finfo(np.float64).eps)


def complex_step(dtype: np.typing.DTypeLike) -> Any:
    """Return the imaginary step of second derivatives in a NumPy dtype: its square is nothing beside any number."""
    return np.finfo(dtype).tiny ** 0.4


@lru_cache(maxsize=8)
def _pools(dtype: torch.dtype) -> tuple[Array, Array, Array]:
    """Return u * xi, 1 + u * xi and u * xi times the smallest normal number, each twice in a row.

    In the oracle's precision: in float64, 1 + u * xi would be 1 again.
    """
    wide = oracle_dtype(dtype)
    xi = np.tile(np.random.default_rng(0).uniform(-1, 1, POOL).astype(wide), 2)
    noise = np.asarray(xi * wide(unit_roundoff(dtype)))
    return noise, 1 + noise, noise * torch.finfo(dtype).smallest_normal


class Perturbed:
    """Noise of a dtype's rounding on every intermediate result of all copies but the first, which stays exact.

    Args:
        dtype: the precision whose rounding is imitated.
        copies: runs beside the exact one.
        seed: where in the pool of noise the run starts.
    """

    def __init__(self, dtype: torch.dtype, copies: int = COPIES, seed: int = 0) -> None:
        self.copies = copies + 1
        self._crossing = KINK if copies >= CONFIRMING_COPIES else 0.0
        self._dtype = dtype
        self._noise, self._factors, self._absolute = _pools(dtype)
        self._random = random.Random(seed)
        self._position = POOL
        self._half = torch.finfo(dtype).bits == 16
        # Only float16 meets its own subnormals in ordinary cases: its results carry an absolute error too.
        self._underflows = dtype == torch.float16

    def __call__(self, x: Array) -> Array:
        """Round a product or a sum in place: noise relative to x."""
        noisy = _perturbed(x)
        self._each(noisy, self._factors, _multiply)
        if self._underflows:
            self._each(noisy, self._absolute, lambda some, noise: _add_where(some, some, noise))
        return x

    def activation(self, x: Array, a: Array) -> Array:
        """Round tanh or sigma of a in place: noise relative to 1, since each may be evaluated through the other.

        So is the slope, 1 - tanh^2 or the like, which a complex step (see `second_order`) multiplies with a's.
        """
        noisy = _perturbed(x)
        if x.dtype.kind == "c":
            noisy += 1j * _perturbed(a).imag * self._take(self._noise, noisy)
        # tanh(0) is 0 however it is evaluated.
        self._each(noisy, self._noise, lambda some, noise: _add_where(some, some.real, noise))
        return x

    def total(self, x: Array, steps: int, rows: int) -> Array:
        """Round a sum in place; F times the noise is the worst that adding the terms one by one can do.

        Half precision is added up over the rows in float32, by all that is known: there the steps alone count.
        """
        terms = steps if self._half else steps * rows
        share = max(1.0, terms / FACTOR)
        self._each(_perturbed(x), self._noise, lambda noisy, noise: _multiply(noisy, 1 + share * noise))
        return x

    def kink(self, x: Array) -> Array:
        """Return x as a kink sees it: in all copies but the first zeros are on either side, and so is what may cross.

        Which slope is taken is no matter of degree: where one run in a hundred crosses, most spreads do not show it.
        The runs that confirm a fault move x by KINK times its spread. A complex step leaves its square in the real
        part of what is zero, with an imaginary part or, between two that are zero, without one.
        """
        moved = x.copy()
        if np.iscomplexobj(x):
            moved = np.where(np.abs(x.real) <= np.maximum(np.abs(x.imag), complex_step(x.dtype)), 0, x.real)
        noisy = _perturbed(moved)
        apart = np.abs(noisy - moved[:1])
        spread = np.where(np.isfinite(apart), apart, 0).max(axis=0, keepdims=True)  # an infinity is on one side
        xi = self._take(self._noise, noisy) / unit_roundoff(self._dtype)
        noisy += np.where(noisy == 0, 1, self._crossing * spread) * xi
        return moved

    def _each(self, x: Array, pool: Array, change: Callable[[Array, Array], object]) -> None:
        """Change an array in place by the pool's next numbers; a large one block by block, with none of its size."""
        begin, size = self._next(x.size), x.size
        if begin + size <= len(pool):
            change(x, pool[begin : begin + size].reshape(x.shape))
        else:
            _in_blocks(x, pool, begin, change)

    def _take(self, pool: Array, like: Array) -> Array:
        """Return the pool's next numbers, in the shape of an array."""
        begin = self._next(like.size)
        return np.resize(pool[begin : begin + min(like.size, POOL)], like.shape)

    def _next(self, size: int) -> int:
        """Return where in the pool so many numbers begin, which are taken then."""
        begin = self._position
        if begin + size > POOL:
            begin = self._random.randrange(POOL)
            if begin + size > POOL:
                self._position = begin
                return POOL - begin
        self._position = begin + size
        return begin


def _in_blocks(x: Array, pool: Array, begin: int, change: Callable[[Array, Array], object]) -> int:
    """Change an array as `Perturbed` does, by the numbers from `begin` on, over and over; return where they end."""
    rows = POOL * len(x) // x.size
    if not rows:
        for row in x:
            begin = _in_blocks(row, pool, begin, change)
        return begin
    for k in range(0, len(x), rows):
        block = x[k : k + rows]
        change(block, pool[begin : begin + block.size].reshape(block.shape))
        begin = (begin + block.size) % POOL
    return begin


def _perturbed(x: Array) -> Array:
    """Return the copies that are perturbed, of a sequence or of one step."""
    return x[:, 1:] if x.ndim == 5 else x[1:]


def _multiply(x: Array, factors: Array) -> None:
    """Multiply in place."""
    x *= factors


def _add_where(x: Array, nonzero: Array, noise: Array) -> None:
    """Add noise in place where the other is not zero, which it hardly ever is."""
    x += noise if np.count_nonzero(nonzero) == nonzero.size else (nonzero != 0) * noise


@dataclass(frozen=True)
class Bound:
    """What is true of one tensor, and how far an honest evaluation may be from it.

    Args:
        truth: the oracle's value, one precision up.
        spread: the largest distance of a perturbed run from it, absolute.
        dtype: the precision under judgement.
        within_range: whether nothing on the way to it left the dtype's range.
    """

    truth: Array
    spread: float
    dtype: torch.dtype
    within_range: bool = True

    @cached_property
    def peak(self) -> float:
        """max|truth|, of what is finite."""
        peak = float(np.abs(self.truth).max(initial=0))
        return peak if np.isfinite(peak) else float(np.abs(self.truth[np.isfinite(self.truth)]).max(initial=0))

    @property
    def limit(self) -> float:
        """F * (spread + u * max|truth|), and F times what may underflow: the largest error of a right layer."""
        return FACTOR * (self.spread + unit_roundoff(self.dtype) * self.peak + underflow(self.dtype))

    @property
    def finite(self) -> bool:
        """Whether a right layer's tensor must be; not so in float16, whose range a sum may leave and come back to."""
        return self.within_range and self.dtype != torch.float16 and bool(np.isfinite(self.truth).all())

    @property
    def determined(self) -> bool:
        """Whether the dtype carries digits for this tensor at all; where not, it is counted, not judged."""
        zero = self.spread == self.peak == 0  # exactly so, whatever is rounded on the way
        return self.within_range and (zero or bool(self.spread + underflow(self.dtype) <= NO_DIGITS * self.peak))


def bounds(
    spec: LayerSpec,
    weights: Mapping[str, Array],
    inputs: Inputs,
    dtype: torch.dtype,
    *,
    copies: int = COPIES,
    seed: int = 0,
    planted: bool = False,
) -> dict[str, Bound]:
    """Run the oracle with `copies` perturbed copies, one precision above `dtype`, and return every tensor's bound.

    Args:
        spec: the layers.
        weights: every parameter by its `torch.nn` name, in the oracle's precision.
        inputs: what the layers are run on, in the oracle's precision.
        dtype: the precision under judgement.
        copies: K.
        seed: of the noise.
        planted: whether NaN or infinity was put in on purpose, and belongs to what is true.
    """
    at_once = copies if spec.nonlinearity == "relu" else min(copies, AT_ONCE)
    found: dict[str, Bound] = {}
    for part in range(-(-copies // at_once)):
        results = evaluate(spec, weights, inputs, Perturbed(dtype, at_once, seed + part))
        found = {name: _wider(bound, found.get(name)) for name, bound in bounds_of(results, dtype, planted).items()}
    return found


def _wider(bound: Bound, other: Bound | None) -> Bound:
    """Return what allows the runs of both."""
    if other is None:
        return bound
    spread, within_range = max(bound.spread, other.spread), bound.within_range and other.within_range
    return replace(bound, spread=spread, within_range=within_range)


def bounds_of(results: Mapping[str, Array], dtype: torch.dtype, planted: bool = False) -> dict[str, Bound]:
    """Return the bound of every tensor from its runs: the first exact, the others perturbed."""
    finite = {"forward": True, "backward": True}
    spreads = {}
    with np.errstate(all="ignore"):
        for name, runs in results.items():
            highest, lowest = runs.max(axis=0), runs.min(axis=0)
            within = bool(max(highest.max(), -lowest.min()) < torch.finfo(dtype).max)  # which NaN is not
            if within:
                highest -= runs[0]
                lowest -= runs[0]
                spread = max(highest.max(), -lowest.min())
            else:
                spread = np.abs(runs[1:] - runs[0])[:, np.isfinite(runs[0])].max(initial=0)
                within = planted and _within(runs, dtype)
            spreads[name] = float(spread)
            finite["backward" if name.endswith(".grad") else "forward"] &= within
    # One infinity on the way makes what depends on it infinite or NaN: forward all, backward all gradients.
    forward, both = finite["forward"], finite["forward"] and finite["backward"]
    return {  # with a copy of the exact run: a view would keep the others in memory
        name: Bound(runs[0].copy(), spreads[name], dtype, both if name.endswith(".grad") else forward)
        for name, runs in results.items()
    }


def _within(runs: Array, dtype: torch.dtype) -> bool:
    """Whether nothing left the dtype's range, beside what is NaN or infinite in every run."""
    alike = (np.isnan(runs) & np.isnan(runs[:1])) | (np.isinf(runs) & (runs == runs[:1]))
    return bool(((np.abs(runs) < torch.finfo(dtype).max) | alike).all())
