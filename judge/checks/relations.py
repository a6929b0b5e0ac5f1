"""Relations that need no oracle: what two runs of the same layer must have to do with each other.

The two runs lie at most twice the bound apart; the oracle gives that bound and nothing else. Each function takes an
implementation and a case and returns a `Verdict`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ..core.bounds import CONFIRMING_COPIES, COPIES, Bound, unit_roundoff
from ..core.call import Call, parameter_gradients, parameters_of, run_tensors, set_mode
from ..core.candidate import Implementation
from ..core.case import EARLIER_CALL, Case, tensors_of
from ..core.check import Check
from ..core.misbehaviour import Misbehaviour, Raised
from ..core.verdict import (
    Finding,
    Verdict,
    candidate,
    case_bounds,
    compare,
    exact_products,
    in_doubt,
    loaded_builtin,
)
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


def two_losses(implementation: Implementation, case: Case) -> Verdict:
    """Two forward passes and one without gradients, then both backward passes, the first twice: gradients add up.

    In an odd case the second comes before the first.
    """
    verdict = Verdict(implementation, case)
    with exact_products():
        try:
            layer = candidate(implementation, loaded_builtin(case), case)
            set_mode(layer, case.modes[-1])
            first, second = (Call(layer, case, tensors_of(case, offset)) for offset in (0, EARLIER_CALL))
            run_tensors(layer, case, tensors_of(case, EARLIER_CALL))
            if case.seed % 2:
                second.backward()
            first.backward(retain_graph=True)
            first.backward()
            if not case.seed % 2:
                second.backward()
            of_first, of_second = _gradients(first.found()), _gradients(second.found())
            of_parameters = parameter_gradients(implementation, layer, case)
            of_both = _gradients({f"{name}.grad": gradient for name, gradient in of_parameters.items()})
        except Misbehaviour as error:
            verdict.misbehaviour = error
            return verdict

    def findings(copies: int) -> list[Finding]:
        """Return what is judged; what cannot be is counted."""
        a, b = (case_bounds(case, copies, offset=offset) for offset in (0, EARLIER_CALL))
        twice = {name: _total(2, bound) for name, bound in a.items() if name.endswith(".grad")}
        sums = {name: _total(2, a[name], b[name]) for name in of_both if name in a}
        own = {name: bound for name, bound in twice.items() if name not in sums}
        of_arguments = {name: bound for name, bound in b.items() if name not in sums and name.endswith(".grad")}
        limits = [*own.items(), *of_arguments.items(), *sums.items()]
        verdict.undetermined = [name for name, bound in limits if not bound.determined]
        return [*compare(own, of_first), *compare(of_arguments, of_second), *compare(sums, of_both)]

    verdict.findings = findings(COPIES)
    if in_doubt(verdict.findings, case):
        verdict.findings = findings(CONFIRMING_COPIES)
    verdict.findings.sort(key=lambda finding: -finding.ratio)
    return verdict


def changed_in_place(
    changed: Callable[[Case, Implementation], list[str]], implementation: Implementation, case: Case
) -> Verdict:
    """Changing a tensor in place between forward and backward leaves the gradients right, or makes backward raise.

    What the backward pass needs of results, arguments and weights has to be kept where autograd sees the change.
    """
    verdict = Verdict(implementation, case)
    try:
        with exact_products():
            came = [_gradients_after(name, implementation, case) for name in changed(case, implementation)]
    except Misbehaviour as error:
        verdict.misbehaviour = error
        return verdict
    unseen = [gradients for gradients in came if gradients is not None]

    def findings(copies: int) -> list[Finding]:
        limits = {name: bound for name, bound in case_bounds(case, copies).items() if name.endswith(".grad")}
        verdict.undetermined = [name for name, bound in limits.items() if not bound.determined]
        every = [finding for gradients in unseen for finding in compare(limits, gradients)]
        worst = {finding.tensor: finding for finding in sorted(every, key=lambda finding: finding.ratio)}
        return sorted(worst.values(), key=lambda finding: -finding.ratio)

    verdict.findings = findings(COPIES)
    if in_doubt(verdict.findings, case):
        verdict.findings = findings(CONFIRMING_COPIES)
    return verdict


def _gradients_after(changed: str, implementation: Implementation, case: Case) -> dict[str, Tensor | None] | None:
    """Return every gradient after a change of the tensor of that name, None where autograd saw it."""

    def change(tensors: Tensors) -> None:
        with torch.no_grad():
            (tensors | parameters_of(layer))[changed].mul_(2)

    layer = candidate(implementation, loaded_builtin(case), case)
    set_mode(layer, case.modes[-1])
    begun = Call(layer, case, tensors_of(case))
    try:
        begun.backward_after(change)
        found = begun.found() | {f"{n}.grad": g for n, g in parameter_gradients(implementation, layer, case).items()}
    except Raised as error:
        if error.stage == "backward":
            return None
        raise
    return _gradients(found)


def _gradients(found: Mapping[str, Tensor | None]) -> dict[str, Tensor | None]:
    """Return what is a gradient, on the CPU, where it is compared."""
    return {name: None if g is None else g.detach().cpu() for name, g in found.items() if name.endswith(".grad")}


def _total(times: int, first: Bound, second: Bound | None = None) -> Bound:
    """Return the bound of times * first + second, whose rounding is that of the largest sum on the way."""
    if second is None:
        return Bound(times * first.truth, times * first.spread, first.dtype, first.within_range)
    spread = times * (first.spread + unit_roundoff(first.dtype) * first.peak) + second.spread
    spread += unit_roundoff(first.dtype) * second.peak
    within = first.within_range and second.within_range and first.determined and second.determined
    return Bound(times * first.truth + second.truth, spread, first.dtype, within)


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
OUTPUT_CHANGED, ARGUMENT_CHANGED = (
    Check(partial(changed_in_place, changed), by(forms.against_builtin, forms.changed_in_place(changed)))
    for changed in (forms.the_output, forms.what_is_read)
)
TWO_LOSSES = Check(two_losses, by(forms.against_builtin, forms.both_passes))
