"""NaN and infinity: a case with one of them in its input, its state or a parameter.

A NaN goes wherever the equations carry it, and nowhere else: not into other rows of the batch, not into steps that
were read before it, not into a direction or layer that has nothing to do with it. An infinite input saturates its
gates, and what is finite then stays finite.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace

from .cases import Case, tensors_of, weights_of


def planted(case: Case) -> Case:
    """Put a NaN or an infinity into a case; which and where, its seed decides.

    An infinity goes into the input alone: of an infinite state right layers make different things, since
    (1 - z) n + z h and n + z (h - n) are the same but there. The loss depends on all results, because autograd leaves
    out what no loss depends on, where the equations multiply with zero. A relu has no slope at NaN, and a right layer
    may multiply it with zero beyond the end of a packed sequence: there the forward pass alone is judged.
    """
    where = random.Random(case.seed)
    spec = case.spec
    results = ("output", "h_n", "c_n") if spec.kind == "lstm" else ("output", "h_n")
    case = replace(
        case,
        states="absent" if case.states == "absent" else "given",
        cotangents=results if case.cotangents and spec.nonlinearity == "tanh" and case.lengths is None else (),
        weight_scale=round(spec.hidden_size**-0.5, 2),
        input_scale=1.0,
        input_layout="contiguous",
        state_layout="contiguous",
    )
    states = [name for name in ("h_0", "c_0") if name in tensors_of(case)]
    # Beside a state that is not given, the weights on it need not be used.
    parameter = where.choice([name for name in weights_of(case) if states or not name.startswith("weight_hh")])
    infinite = [("input", math.inf), ("input", -math.inf)]
    name, value = where.choice([*infinite, *((name, math.nan) for name in ("input", *states, parameter))])
    if name == "input":
        row = where.randrange(case.batch)
        step = where.randrange(case.lengths[row] if case.lengths else case.seq_len)
        index = (step * case.batch + row) * spec.input_size + where.randrange(spec.input_size)
    else:
        index = where.randrange({**tensors_of(case), **weights_of(case)}[name].numel())
    return replace(case, nonfinite=(name, index, value))
