"""Repeatability: the same module, arguments and seed give the same result and the same gradients."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..core.bounds import Bound
from ..core.call import call, parameter_gradients, require_gradients, set_mode
from ..core.candidate import Implementation
from ..core.case import Case, tensors_of
from ..core.check import Check
from ..core.misbehaviour import Misbehaviour
from ..core.settings import seed_generators
from ..core.verdict import Finding, Results, Verdict, candidate, case_bounds, exact_products, loaded_builtin
from ..programs import forms
from ..programs.forms import drops
from ..programs.writing import by
from .dropout import global_seed, some_masks
from .relations import settled

DRAWS = 4  # of dropout, beside that in which nothing is dropped


def repeated(implementation: Implementation, case: Case) -> Verdict:
    """A second call of the same module gives what the first gave, within twice the bound.

    Where the case has a dropout seed, it is set before each call, and the bound is that of a case with dropout.
    """
    verdict = Verdict(implementation, case)
    with global_seed(case), exact_products():
        try:
            layer = candidate(implementation, loaded_builtin(case), case)
            require_gradients(layer, case)
            first, second = (_called(implementation, layer, case) for _ in range(2))
        except Misbehaviour as error:
            verdict.misbehaviour = error
            return verdict
    if _same(first, second):  # which no bound has to allow
        verdict.findings = [Finding(name, 0.0, 0.0) for name in first]
        return verdict
    return settled(verdict, first, second, _limits if drops(case) else case_bounds)


def _same(first: Results, second: Results) -> bool:
    """Whether two runs agree to the last bit, and hold no NaN."""
    return all(
        (a is None and b is None) or (a is not None and b is not None and torch.equal(a, b))
        for a, b in ((first[name], second.get(name)) for name in first)
    )


def _limits(case: Case, copies: int) -> dict[str, Bound]:
    """Return the widest bound of every tensor under some draws of dropout: which one the layer takes is its own."""
    draws = [case_bounds(case, copies, masks) for masks in some_masks(case, DRAWS)]
    widest = {name: max((bounds[name] for bounds in draws), key=lambda bound: bound.limit) for name in draws[0]}
    undetermined = {name for bounds in draws for name, bound in bounds.items() if not bound.determined}
    return {name: replace(b, within_range=False) if name in undetermined else b for name, b in widest.items()}


def _called(implementation: Implementation, layer: torch.nn.Module, case: Case) -> Results:
    set_mode(layer, case.modes[-1])
    if case.dropout_seed is not None:
        seed_generators(case.dropout_seed, case.device)
    found = call(layer, case, tensors_of(case))
    if case.cotangents:
        gradients = parameter_gradients(implementation, layer, case)
        found |= {f"{name}.grad": gradient for name, gradient in gradients.items()}
    return {name: None if tensor is None else tensor.detach().clone().cpu() for name, tensor in found.items()}


REPEATED = Check(repeated, by(forms.against_builtin, forms.again))
