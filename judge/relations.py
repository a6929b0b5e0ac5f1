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

from .cases import Case, tensors_of
from .implementation import Implementation
from .running import Misbehaviour, run_tensors
from .tolerance import CONFIRMING_COPIES, Bound
from .verdict import Finding, Verdict, candidate, case_bounds, exact_products, loaded_builtin

Tensors = dict[str, Tensor]


def time_reversal(implementation: Implementation, case: Case) -> Verdict:
    """Reading the reversed sequence equals reading the sequence with the two directions' weights swapped.

    One layer, bidirectional: its halves of the output and its rows of h_n and c_n change places.
    """

    def related(layer: nn.Module, tensors: Tensors) -> Tensors:
        reversed_input = tensors | {"input": tensors["input"].flip(0)}
        for name in ("h_0", "c_0"):
            if name in tensors:
                reversed_input[name] = tensors[name].flip(0)
        state = {name: weight.clone() for name, weight in layer.state_dict().items()}
        layer.load_state_dict({name: state[_other_direction(name)] for name in state})
        found = run_tensors(layer, case, reversed_input)
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
        second = replace(case, seq_len=case.seq_len - cut, states="given", state_layout="contiguous")
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


def second_call(implementation: Implementation, case: Case) -> Verdict:
    """A second call with the same arguments gives what the first gave."""
    return _compare(implementation, case, lambda layer, tensors: run_tensors(layer, case, tensors))


def _compare(implementation: Implementation, case: Case, related: Callable[[nn.Module, Tensors], Tensors]) -> Verdict:
    verdict = Verdict(implementation, case)
    tensors = tensors_of(case)
    with exact_products():
        try:
            layer = candidate(implementation, loaded_builtin(case), case)
            direct = run_tensors(layer, case, tensors)
            through_relation = related(layer, tensors)
        except Misbehaviour as error:
            verdict.misbehaviour = str(error)
            return verdict
    limits = case_bounds(case)
    verdict.findings = _findings(limits, direct, through_relation)
    if not verdict.ok:
        limits = case_bounds(case, CONFIRMING_COPIES)
        verdict.findings = _findings(limits, direct, through_relation)
    verdict.undetermined = [name for name, bound in limits.items() if not bound.determined]
    return verdict


def _findings(limits: Mapping[str, Bound], a: Tensors, b: Tensors) -> list[Finding]:
    findings = []
    for name, bound in limits.items():
        if bound.determined:
            apart = (a[name].double() - b[name].double()).abs().max().item()
            findings.append(Finding(name, apart if np.isfinite(apart) else float("inf"), 2 * bound.limit))
    return sorted(findings, key=lambda finding: -finding.ratio)


def _states(found: Tensors, change: Callable[[Tensor], Tensor]) -> Tensors:
    return {name: change(found[name]) for name in ("h_n", "c_n") if name in found}
