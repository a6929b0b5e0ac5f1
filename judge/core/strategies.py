"""What is drawn: specs, shapes, weights, inputs, states and cotangents, unkind enough to show a fault.

Sizes are drawn as small integers and every tensor from one seed, so that a failing case shrinks to a small one.

Hypothesis looks a new strategy through before it draws from it, which takes as long as to draw: what is drawn from for
each case is made once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

import torch
from hypothesis import strategies as st

from ...reference.spec import LayerSpec
from .candidate import Implementation
from .case import LAYOUTS, Case


@lru_cache(maxsize=None, typed=True)
def _any_of(*values: Any) -> st.SearchStrategy[Any]:
    """Return the strategy that draws one of the values."""
    return st.sampled_from(values)


@cache
def _one_in(n: int) -> st.SearchStrategy[bool]:
    return _any_of(*(False,) * (n - 1), True)


@cache
def _between(least: int, most: int) -> st.SearchStrategy[int]:
    return st.integers(least, most)


@cache
def _up_to(most: int) -> st.SearchStrategy[int]:
    return st.just(0) | st.integers(1, most)


@cache
def _lengths(seq_len: int, count: int, distinct: bool) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(1, seq_len), min_size=count, max_size=count, unique=distinct)


@lru_cache(maxsize=256)
def _some(*names: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), unique=True)


# What a test may ask a case to vary, beside specs, shapes, weights and values.
VARIATIONS = frozenset({"gradients", "states", "stack", "packed", "layouts", "modes"})

# One size at a time is drawn past a limit that kernels have: 64 steps, 100 sequences, a vector register's width, ten
# layers.
STRETCHES = ("seq_len", "batch", "input_size", "hidden_size", "num_layers")

LONG = st.integers(65, 90) | st.integers(8, 64) | st.integers(65, 130)
MANY = st.integers(101, 130) | st.integers(6, 100) | st.integers(101, 300)
WIDE = st.integers(33, 70) | st.integers(7, 32) | st.sampled_from((8, 16, 32, 64, 136))
HIGH = st.sampled_from((4, 11, 5, 12))

MODES = st.lists(st.sampled_from(("train", "eval")), min_size=1, max_size=3)

# And one at a time at the edge of a tile, where kernels go on in another block, or past the largest: once in each of
# the kernels that a kind has, with tanh and with relu, without a projection and with one.
TILED = ("seq_len", "batch", "input_size", "hidden_size")
TILES = {
    "tile": st.sampled_from((513, 257, 511, 512)) | st.sampled_from((65, 129, 256, 64, 128, 255, 127, 63)),
    "past": st.just(1025),
    "past, the other": st.just(1025),
}

# What makes tanh or sigmoid overflow where they are computed by exp, and leaves the sums themselves within the range.
OVERFLOWING = {torch.float64: 2000.0, torch.float32: 300.0, torch.bfloat16: 300.0, torch.float16: 64.0}


def cases(
    implementation: Implementation,
    dtype: torch.dtype,
    device: str = "cpu",
    vary: Set[str] = VARIATIONS,
    stretched: Sequence[str | None] = (None,) * 9 + STRETCHES,
    **fixed: Any,
) -> st.SearchStrategy[Case]:
    """Return the strategy that draws cases for an implementation, without what it declares unsupported.

    Args:
        implementation: what is judged.
        dtype: of every tensor.
        device: "cpu" or "cuda".
        vary: which of `VARIATIONS` to draw; the others keep the defaults of `Case`.
        stretched: which of `STRETCHES`, of `TILED` with a key of `TILES` before it, or None for small sizes, to draw
            from.
        fixed: fields of `LayerSpec` that are not drawn, such as num_layers=2.
    """
    stretches = {how: specs(implementation, dtype, vary, how, fixed) for how in stretched}
    return _cases(implementation, dtype, device, vary, st.sampled_from(stretched), stretches)


@st.composite
def _cases(
    draw: st.DrawFn,
    implementation: Implementation,
    dtype: torch.dtype,
    device: str,
    vary: Set[str],
    stretches: st.SearchStrategy[str | None],
    specs_of: Mapping[str | None, st.SearchStrategy[LayerSpec]],
) -> Case:
    def may(variation: str, *features: str) -> bool:
        return variation in vary and all(map(implementation.supports, features or (variation,)))

    stretched = draw(stretches)
    how, _, size = (stretched or "").rpartition(" ")
    tiled = how in TILES
    spec = draw(specs_of[stretched])
    # At a tile a state is read, whether one is given or not.
    few = _between(2 if tiled else 1, 2 if tiled else 3 if size == "num_layers" else 7)
    seq_len = draw(TILES.get(how, LONG) if size == "seq_len" else few)
    batch = draw(TILES.get(how, MANY) if size == "batch" else _between(1, 2 if tiled else 5))
    given: dict[str, Any] = {}
    if may("packed") and draw(st.booleans()):
        given |= draw(packings(seq_len, batch))
    elif may("layouts", "unbatched") and draw(_one_in(4)):
        batch, given["batched"] = 1, False
    if not implementation.supports("initial_state"):
        given["states"] = "absent"
    elif "states" in vary:
        given["states"] = draw(_any_of("given", "given", "absent", "zeros"))
    if may("gradients"):
        # An adapter's layer has other parameters than those that would be frozen; at a tile every gradient is read.
        given |= draw(losses(spec, frozen=implementation.from_builtin is None and not tiled))
    if "modes" in vary and not given.get("cotangents"):
        given["grad_mode"] = draw(_any_of("no_grad", "inference", "grad"))
    if "modes" in vary:
        given["modes"] = tuple(draw(MODES))
    if may("layouts", "strides"):
        given["input_layout"] = draw(_any_of(*LAYOUTS))
        given["state_layout"] = draw(_any_of(*LAYOUTS))
        if spec.kind == "lstm":
            given["cell_layout"] = draw(_any_of(*LAYOUTS))
    scales = weight_scales(spec, dtype, seq_len) if not tiled else _any_of(usual(spec), 0.05)
    if not implementation.supports("zero_weights"):
        scales = scales.filter(bool)
    return Case(
        spec,
        dtype,
        device,
        seq_len,
        batch,
        seed=draw(_between(0, 2**20)),
        weight_scale=draw(scales),
        input_scale=1.0 if tiled else draw(_any_of(*(1.0,) * 5, 8.0, 8.0, OVERFLOWING[dtype])),
        **given,
    )


def past_tiles(implementation: Implementation) -> tuple[str, ...]:
    """Return the keys of `TILES` that go past them, for each of an implementation's kernels."""
    other = {"rnn": "relu", "lstm": "proj_size"}.get(implementation.kind)
    return ("past", "past, the other") if other is not None and implementation.supports(other) else ("past",)


def past_hidden(dtype: torch.dtype) -> dict[str, st.SearchStrategy[int]]:
    """Return hidden sizes past the largest tile: by one, and by some, for relu leaves a few units at zero.

    Time grows with their square, and in float64 the oracle has no fast products: there 512 is the tile.
    """
    largest = 512 if dtype == torch.float64 else 1024
    return {"past": st.just(largest + 1), "past, the other": st.just(largest + 9)}


def within_means(implementation: Implementation, case: Case) -> Case:
    """Leave out of a case what the implementation declares unsupported, where another case would ask nothing."""
    supports, changes = implementation.supports, dict[str, Any]()
    if not supports("final_state"):
        changes = {"final_states": False, "cotangents": case.cotangents and ("output",)}
    if not supports("state_gradients"):
        changes |= {"state_grad": False, "cell_grad": False}
    if not supports("eval_gradients") and case.modes[-1] == "eval":
        changes |= {"cotangents": (), "frozen": ()}
    elif not supports("eval_gradients") and case.cotangents:
        changes["modes"] = ("train",) * len(case.modes)
    return replace(case, **changes)


@st.composite
def specs(
    draw: st.DrawFn,
    implementation: Implementation,
    dtype: torch.dtype,
    vary: Set[str] = VARIATIONS,
    stretched: str | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> LayerSpec:
    """Draw a `LayerSpec` that the implementation supports.

    Args:
        draw: Hypothesis's.
        implementation: what is judged.
        dtype: of its tensors.
        vary: "stack" draws layers and directions, "layouts" draws batch_first.
        stretched: as for `cases`.
        fixed: options that are not drawn.
    """
    supports = implementation.supports
    how, _, size = (stretched or "").rpartition(" ")
    options: dict[str, Any] = {
        name: draw(past.get(how, TILES.get(how, WIDE)) if name == size else _between(2 if how in TILES else 1, 6))
        for name, past in (("input_size", {}), ("hidden_size", past_hidden(dtype)))
    }
    if supports("no_bias"):
        options["bias"] = not draw(_one_in(4))
    if implementation.kind == "rnn" and supports("relu"):
        options["nonlinearity"] = draw(_any_of("tanh", "relu"))
    if implementation.kind == "lstm" and supports("proj_size") and options["hidden_size"] > 1:
        options["proj_size"] = draw(_up_to(options["hidden_size"] - 1))
    if how.startswith("past"):
        kernels = {"nonlinearity": ("tanh", "relu"), "proj_size": (0, options["hidden_size"] - 1)}
        options |= {name: either[how != "past"] for name, either in kernels.items() if name in options}
    if "stack" in vary and supports("num_layers"):
        some = (1,) if how in TILES and size == "hidden_size" else (1, 2, 3, 1, 2, 3, 4)  # time grows with its square
        options["num_layers"] = draw(HIGH if size == "num_layers" else _any_of(*some))
    if "stack" in vary and supports("bidirectional"):
        options["bidirectional"] = draw(st.booleans())
    if "layouts" in vary and supports("batch_first"):
        options["batch_first"] = draw(st.booleans())
    return LayerSpec(implementation.kind, dialect=implementation.dialect, **(options | dict(fixed or {})))


@lru_cache(maxsize=256)
@st.composite
def packings(draw: st.DrawFn, seq_len: int, batch: int) -> dict[str, Any]:
    """Draw lengths, equal, distinct or any, of which the largest is seq_len, and whether they are sorted."""
    shape = draw(_any_of("any", "equal", "distinct"))
    if shape == "equal":
        lengths = [seq_len] * batch
    elif shape == "distinct" and batch <= seq_len:
        lengths = draw(_lengths(seq_len, batch, distinct=True))
    else:
        # A batch past a hundred repeats a few lengths: drawing each would cost more than judging it.
        some = draw(_lengths(seq_len, min(batch, 5), distinct=False))
        lengths = (some * batch)[:batch]
    if seq_len not in lengths:
        lengths[draw(_between(0, batch - 1))] = seq_len
    enforce_sorted = draw(st.booleans())
    return {
        "lengths": tuple(sorted(lengths, reverse=True) if enforce_sorted else lengths),
        "enforce_sorted": enforce_sorted,
    }


@lru_cache(maxsize=256)
@st.composite
def losses(draw: st.DrawFn, spec: LayerSpec, frozen: bool) -> dict[str, Any]:
    """Draw what the loss depends on (each result alone among it), which parameters are frozen, and the rest."""
    results = ("output", "h_n", "c_n") if spec.kind == "lstm" else ("output", "h_n")
    found: dict[str, Any] = {
        "cotangents": draw(_any_of(results, *((name,) for name in results))),
        "plain_sum": draw(_one_in(4)),
    }
    if frozen and draw(_one_in(3)):
        found["frozen"] = tuple(draw(_some(*sorted(spec.parameter_shapes()))))
        found["input_grad"] = draw(st.booleans())
        found["state_grad"] = draw(st.booleans())
        if spec.kind == "lstm":
            found["cell_grad"] = draw(st.booleans())
    return found


def weight_scales(spec: LayerSpec, dtype: torch.dtype, seq_len: int) -> st.SearchStrategy[float]:
    """Return scales for the weights: usual, small, none and, where the dtype still carries digits, saturating.

    Over many steps weights of scale 1 and more make a recurrence chaotic (or, with relu, overflow), and dtypes of
    few digits then carry none: no implementation could be told from another.
    """
    small, none = 0.05, 0.0
    few_digits = dtype in (torch.float16, torch.bfloat16)
    if few_digits and (seq_len > 3 or spec.nonlinearity == "relu"):
        return _any_of(usual(spec), small, none)
    if seq_len > 10 and (dtype != torch.float64 or spec.nonlinearity == "relu"):
        return _any_of(usual(spec), small)
    return _any_of(usual(spec), 1.0, small, none) if few_digits else _any_of(usual(spec), 1.0, small, none, 4.0)


def usual(spec: LayerSpec) -> float:
    """Return the scale under which a sum over the hidden features is of the size of one of them."""
    return float(round(spec.hidden_size**-0.5, 2))
