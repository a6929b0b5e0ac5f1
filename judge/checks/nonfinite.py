"""NaN and infinity: a case with one of them in its input, its state or a parameter.

A NaN goes wherever the equations carry it, and nowhere else: not into other rows of the batch, not into steps that
were read before it, not into a direction or layer that has nothing to do with it. An infinite input saturates its
gates, and what is finite then stays finite.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ..core.case import Case, tensors_of, weights_of


def planted(what: str) -> Callable[[Case], Case]:
    """Return what puts a NaN or an infinity into a case; where, the case's seed decides.

    An infinity goes into the input alone: of an infinite state right layers make different things, since
    (1 - z) n + z h and n + z (h - n) are the same but there. The loss depends on all results, because autograd leaves
    out what no loss depends on, where the equations multiply with zero. A relu has no slope at NaN, and a right layer
    may multiply it with zero beyond the end of a packed sequence: there the forward pass alone is judged.

    Args:
        what: one of `PLANTS`.
    """
    return partial(_planted, what=what)


PLANTS = ("NaN in the input", "infinite input", "NaN in the state", "NaN in a parameter")


def _planted(case: Case, what: str) -> Case:
    where = random.Random(case.seed)
    spec = case.spec
    results = ("output", "h_n", "c_n") if spec.kind == "lstm" else ("output", "h_n")
    absent = case.states == "absent" and what != "NaN in the state"
    case = replace(
        case,
        states="absent" if absent else "given",
        cotangents=results if case.cotangents and spec.nonlinearity == "tanh" and case.lengths is None else (),
        weight_scale=round(spec.hidden_size**-0.5, 2),
        input_scale=1.0,
        input_layout="contiguous",
        state_layout="contiguous",
        cell_layout="contiguous",
    )
    value = where.choice((math.inf, -math.inf)) if what == "infinite input" else math.nan
    if what.endswith("input"):
        row = where.randrange(case.batch)
        step = where.randrange(case.lengths[row] if case.lengths else case.seq_len)
        index = (step * case.batch + row) * spec.input_size + where.randrange(spec.input_size)
        return replace(case, nonfinite=("input", index, value))
    if what == "NaN in the state":
        tensors = {name: tensor for name, tensor in tensors_of(case).items() if name in ("h_0", "c_0")}
    else:  # beside a state that is not given, the weights on it need not be used
        tensors = {name: t for name, t in weights_of(case).items() if not (absent and name.startswith("weight_hh"))}
    name = where.choice(list(tensors))
    return replace(case, nonfinite=(name, where.randrange(tensors[name].numel()), value))
