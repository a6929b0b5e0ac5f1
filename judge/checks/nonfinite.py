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
    out what no loss depends on, where the equations multiply with zero. A relu has no slope at NaN, a right layer may
    multiply it with zero beyond the end of a packed sequence, and beside a state that is not given it may leave out
    what multiplies it: there the forward pass alone is judged.

    Args:
        what: one of `PLANTS`.
    """
    return partial(_planted, what=what)


# The gates that a right layer uses even beside a state that is not given: all but the GRU's r and the LSTM's f.
BESIDE = {"gru": (1, 2), "lstm": (0, 2, 3)}

PLANTS = ("NaN in the input", "infinite input", "NaN in the state", "NaN in a parameter")


def _planted(case: Case, what: str) -> Case:
    where = random.Random(case.seed)
    spec = case.spec
    results = ("output", "h_n", "c_n") if spec.kind == "lstm" else ("output", "h_n")
    absent, relu = case.states == "absent" and what != "NaN in the state", spec.nonlinearity == "relu"
    case = replace(
        case,
        states="absent" if absent else "given",
        cotangents=results if case.cotangents and not (absent or relu or case.lengths) else (),
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
    else:
        tensors = weights_of(case)
    name = where.choice([name for name in tensors if not (absent and name.startswith("weight_hh"))])
    index = where.randrange(tensors[name].numel())
    if absent and spec.kind in BESIDE and not name.startswith("weight_hr"):
        rows = spec.hidden_size * tensors[name].shape[1] if tensors[name].dim() == 2 else spec.hidden_size
        index = index % rows + where.choice(BESIDE[spec.kind]) * rows
    return replace(case, nonfinite=(name, index, value))
