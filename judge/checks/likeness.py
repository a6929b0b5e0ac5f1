"""What a wrong layer is: whether it computes another dialect, or takes the gates in another order, than it says.

A layer that fails is held to the equations of each; where all its numbers fit one of them, that is its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, permutations

import numpy as np
import torch

from ...reference.rounding import Array
from ...reference.spec import DIALECTS, GATES, LETTERS, LayerSpec
from ..core.bounds import CONFIRMING_COPIES, bounds
from ..core.call import run
from ..core.candidate import Implementation
from ..core.case import Case, tensors_of, weights_of
from ..core.misbehaviour import Misbehaviour
from ..core.verdict import candidate, compare, exact_products, in_numpy, inputs_of, loaded_builtin

SAID = {
    "one bias": "both biases added up before its gates",
    "reset before": "the reset before the product",
    "forget bias + 1": "1 added to the bias of its forget gate",
}
CASES = 3  # that all have to fit


@dataclass(frozen=True)
class Likeness:
    """A layer that differs from that of `torch.nn` in a dialect, in the order of its gates, or in z for 1 - z."""

    dialect: tuple[str, ...]
    order: tuple[int, ...]
    flipped: bool

    def said(self, kind: str) -> str:
        """Return what it is, in one clause."""
        parts = [SAID[name] for name in self.dialect]
        if self.order != tuple(sorted(self.order)):
            parts.append(f"its gates in the order {', '.join(LETTERS[kind][k] for k in self.order)}")
        if self.flipped:
            parts.append("z and 1 - z in each other's place")
        return f"the {kind.upper()} with {' and '.join(parts)}" if parts else f"the {kind.upper()} of torch.nn"

    def weights(self, weights: dict[str, Array], kind: str) -> dict[str, Array]:
        """Return the weights with which the equations of its dialect are what it computes."""
        return {name: self._in_order(w, kind) if "_hr_" not in name else w for name, w in weights.items()}

    def _in_order(self, weight: Array, kind: str) -> Array:
        blocks = np.split(weight, GATES[kind])
        gates = [blocks[self.order.index(k)] for k in range(len(blocks))]
        if self.flipped:  # 1 - sigma(a) = sigma(-a)
            gates[1] = -gates[1]
        return np.concatenate(gates)


def likenesses(kind: str) -> Iterator[Likeness]:
    """Yield what a layer of a kind may be taken for, the most likely first."""
    names = [name for name, kinds in DIALECTS.items() if kind in kinds]
    for count in range(len(names) + 1):
        for dialect in combinations(names, count):
            for order in permutations(range(GATES[kind])):
                for flipped in (False, True) if kind == "gru" else (False,):
                    yield Likeness(dialect, order, flipped)


def known_as(implementation: Implementation, dtype: torch.dtype, device: str) -> str | None:
    """Return what a wrong layer is, in one clause; None where it is nothing that has a name."""
    cases = [_case(implementation, dtype, device, seed) for seed in range(CASES)]
    try:
        with exact_products():
            found = [run(implementation, candidate(implementation, loaded_builtin(case), case), case) for case in cases]
    except Misbehaviour:
        return None
    declared = set(implementation.dialect)
    for likeness in sorted(likenesses(implementation.kind), key=lambda one: set(one.dialect) != declared):
        if all(_fits(likeness, case, results) for case, results in zip(cases, found, strict=True)):
            return likeness.said(implementation.kind)
    return None


def _case(implementation: Implementation, dtype: torch.dtype, device: str, seed: int) -> Case:
    spec = LayerSpec(implementation.kind, 3, 4, dialect=implementation.dialect)
    states = "given" if implementation.supports("initial_state") else "absent"
    return Case(spec, dtype, device, 4, 2, seed, states=states, final_states=implementation.supports("final_state"))


def _fits(likeness: Likeness, case: Case, results: dict[str, torch.Tensor | None]) -> bool:
    spec = replace(case.spec, dialect=likeness.dialect)
    weights = likeness.weights(in_numpy(weights_of(case), case), spec.kind)
    inputs = inputs_of(case, in_numpy(tensors_of(case), case))
    limits = bounds(spec, weights, inputs, case.dtype, copies=CONFIRMING_COPIES, seed=case.seed)
    findings = compare(limits, results)
    return bool(findings) and findings[0].ratio <= 1
