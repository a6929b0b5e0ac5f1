"""Relations that need no oracle: what two runs of the same layer must have to do with each other.

The two runs lie at most twice the bound apart; the oracle gives that bound and nothing else. Each function takes an
implementation and a case and returns a `Verdict`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ..core.bounds import CONFIRMING_COPIES, COPIES, Bound
from ..core.call import run_tensors
from ..core.candidate import Implementation
from ..core.case import Case, tensors_of
from ..core.check import Check
from ..core.misbehaviour import Misbehaviour
from ..core.verdict import Finding, Verdict, candidate, case_bounds, exact_products, in_doubt, loaded_builtin
from ..programs import forms
from ..programs.writing import by

Tensors = dict[str, Tensor]
Compared = Mapping[str, Tensor | None]


def time_reversal(implementation: Implementation, case: Case) -> Verdict:
    """Reading the reversed sequence equals reading the sequence with the two directions' weights swapped.

    One layer, bidirectional: its halves of the output and its rows of h_n and c_n change places.
    """

    def related(layer: nn.Module, tensors: Tensors) -> Tensors:
        builtin = loaded_builtin(case)
        state = {name: weight.clone() for name, weight in builtin.state_dict().items()}
        builtin.load_state_dict({name: state[_other_direction(name)] for name in state})
        swapped = candidate(implementation, builtin, case)
        states = {name: tensors[name].flip(0) for name in ("h_0", "c_0") if name in tensors}
        found = run_tensors(swapped, case, tensors | states | {"input": tensors["input"].flip(0)})
        forward, backward = found["output"].flip(0).chunk(2, dim=-1)
        return found | {"output": torch.cat([backward, forward], dim=-1)} | _states(found, lambda s: s.flip(0))

    return _compare(implementation, case, related)


def _other_direction(name: str) -> str:
    return name.removesuffix("_reverse") if name.endswith("_reverse") else f"{name}_reverse"


def cut_and_carry(implementation: Implementation, case: Case) -> Verdict:
    """Running two halves of a sequence, the second from the first one's h_n and c_n, equals running it whole."""

    def related(layer: nn.Module, tensors: Tensors) -> Tensors:
        cut = case.seq_len // 2
        first = replace(case, seq_len=cut)
        second = replace(case, seq_len=case.seq_len - cut, states="given")
        second = replace(second, state_layout="contiguous", cell_layout="contiguous")
        head = run_tensors(layer, first, tensors | {"input": tensors["input"][:cut]})
        carried = {f"{name[0]}_0": head[name] for name in ("h_n", "c_n") if name in head}
        tail = run_tensors(layer, second, {"input": tensors["input"][cut:], **carried})
        return tail | {"output": torch.cat([head["output"], tail["output"]])}

    return _compare(implementation, case, related)


def batch_permutation(implementation: Implementation, case: Case) -> Verdict:
    """Permuting the batch permutes the results."""
    order = torch.randperm(case.batch, generator=torch.Generator().manual_seed(case.seed))

    def related(layer: nn.Module, tensors: Tensors) -> Tensors:
        found = run_tensors(layer, case, {name: tensor[:, order] for name, tensor in tensors.items()})
        return {name: tensor[:, order.argsort()] for name, tensor in found.items()}

    return _compare(implementation, case, related)


def one_by_one(implementation: Implementation, case: Case) -> Verdict:
    """A packed or padded batch equals its sequences run one by one, each at its own length."""

    def related(layer: nn.Module, tensors: Tensors) -> Tensors:
        lengths = case.lengths or (case.seq_len,) * case.batch
        rows = []
        for row, length in enumerate(lengths):
            single = replace(case, batch=1, seq_len=length, lengths=None)
            alone = {name: tensor[:, row : row + 1] for name, tensor in tensors.items()}
            found = run_tensors(layer, single, alone | {"input": alone["input"][:length]})
            padding = (0, 0, 0, 0, 0, case.seq_len - length)
            rows.append(found | {"output": nn.functional.pad(found["output"], padding)})
        return {name: torch.cat([row[name] for row in rows], dim=1) for name in rows[0]}

    return _compare(implementation, case, related)


def absent_is_zero(implementation: Implementation, case: Case) -> Verdict:
    """A state that is not given equals a state of zeros."""

    def related(layer: nn.Module, tensors: Tensors) -> Tensors:
        without = {name: tensor for name, tensor in tensors.items() if name not in ("h_0", "c_0")}
        return run_tensors(layer, replace(case, states="absent"), without)

    return _compare(implementation, replace(case, states="zeros"), related)


def _compare(implementation: Implementation, case: Case, related: Callable[[nn.Module, Tensors], Tensors]) -> Verdict:
    verdict = Verdict(implementation, case)
    tensors = tensors_of(case)
    with exact_products():
        try:
            layer = candidate(implementation, loaded_builtin(case), case)
            direct = run_tensors(layer, case, tensors)
            through_relation = related(layer, tensors)
        except Misbehaviour as error:
            verdict.misbehaviour = error
            return verdict
    return settled(verdict, direct, through_relation)


def settled(
    verdict: Verdict, a: Compared, b: Compared, limits_of: Callable[[Case, int], dict[str, Bound]] = case_bounds
) -> Verdict:
    """Fill a verdict with how far two runs that should agree lie apart, in twice the bound of each tensor."""
    limits = limits_of(verdict.case, COPIES)
    verdict.findings = _findings(limits, a, b)
    if in_doubt(verdict.findings, verdict.case):
        limits = limits_of(verdict.case, CONFIRMING_COPIES)
        verdict.findings = _findings(limits, a, b)
    verdict.undetermined = [name for name, bound in limits.items() if not bound.determined]
    return verdict


def _findings(limits: Mapping[str, Bound], a: Compared, b: Compared) -> list[Finding]:
    findings = []
    for name, bound in limits.items():
        if bound.determined:
            apart = (_value(a, name) - _value(b, name)).abs().max().item()
            findings.append(Finding(name, apart if np.isfinite(apart) else float("inf"), 2 * bound.limit))
    return sorted(findings, key=lambda finding: -finding.ratio)


def _value(run: Compared, name: str) -> Tensor:
    """Return a tensor in float64; a gradient that is absent counts as zero."""
    tensor = run.get(name)
    return torch.zeros((), dtype=torch.float64) if tensor is None else tensor.double()


def _states(found: Tensors, change: Callable[[Tensor], Tensor]) -> Tensors:
    return {name: change(found[name]) for name in ("h_n", "c_n") if name in found}


def two_steps(case: Case) -> Case:
    """Give a case two steps at least: one cannot be cut."""
    return replace(case, seq_len=max(2, case.seq_len))


def _relation(verdict: Callable[[Implementation, Case], Verdict], template: str) -> Check:
    return Check(verdict, by(forms.against_builtin, forms.related(template)))


TIME_REVERSAL = _relation(time_reversal, "time_reversal")
CUT_AND_CARRY = _relation(cut_and_carry, "cut_and_carry")
BATCH_PERMUTATION = _relation(batch_permutation, "batch_permutation")
ONE_BY_ONE = _relation(one_by_one, "one_by_one")
ABSENT_IS_ZERO = _relation(absent_is_zero, "absent_is_zero")
