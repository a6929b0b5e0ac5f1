"""The ways of autograd: several losses, and tensors that are changed between the forward and the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from ..core.bounds import CONFIRMING_COPIES, COPIES, Bound, unit_roundoff
from ..core.call import Call, parameter_gradients, parameters_of, run_tensors, set_mode
from ..core.candidate import Implementation
from ..core.case import EARLIER_CALL, Case, tensors_of
from ..core.check import Check
from ..core.misbehaviour import Misbehaviour, Raised
from ..core.verdict import Finding, Verdict, candidate, case_bounds, compare, exact_products, in_doubt, loaded_builtin
from ..programs import forms
from ..programs.writing import by


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

    def change(tensors: dict[str, Tensor]) -> None:
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


OUTPUT_CHANGED, ARGUMENT_CHANGED = (
    Check(partial(changed_in_place, changed), by(forms.against_builtin, forms.changed_in_place(changed)))
    for changed in (forms.the_output, forms.what_is_read)
)
TWO_LOSSES = Check(two_losses, by(forms.against_builtin, forms.both_passes))
