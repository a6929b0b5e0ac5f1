"""The second derivative: the gradient of a sum over the gradients.

With L the loss of a case, g its gradients and v random directions, what is judged is the gradient of <v, g>: with
respect to input, states and parameters that is the Hessian of L times v, with respect to the cotangents it is the
derivative of the results along v. The oracle gives both at once by a complex step: its gradients at x + i h v have the
imaginary part h (H v), without a difference and so without the loss of digits that a difference has.

Source: Squire and Trapp, Using complex variables to estimate derivatives of real functions, 1998.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ...reference.oracle import evaluate
from ...reference.rounding import Array
from ..core.bounds import Bound, Perturbed, bounds_of, complex_step, oracle_dtype
from ..core.call import ARGUMENTS, Call, parameters_of, require_gradients, set_mode
from ..core.candidate import Implementation
from ..core.case import DIRECTION, ROLES, Case, draw, tensors_of, weights_of
from ..core.check import Check
from ..core.guard import watched
from ..core.layouts import arranged, canonical
from ..core.verdict import (
    Results,
    Verdict,
    candidate,
    compared,
    in_numpy,
    inputs_of,
    is_asked_for,
    loaded_builtin,
)
from ..programs.forms import second_derivative
from ..programs.writing import by


def second_order(implementation: Implementation, case: Case) -> Verdict:
    """Compare the gradient of <v, gradients> with the oracle's, for input, states, parameters and cotangents.

    An adapter's parameters have other shapes, and are left out of v and of what is compared.
    """
    verdict, builtin = Verdict(implementation, case), loaded_builtin(case)
    names = _differentiable(case, parameters=implementation.from_builtin is None)
    return compared(
        verdict,
        lambda: _derivatives(candidate(implementation, builtin, case), case, names),
        lambda: _derivatives(builtin, case, names),
        lambda copies: limits(case, names, copies),
    )


def directions(case: Case, names: list[str]) -> dict[str, Tensor]:
    """Return v: one tensor for each name, float64 on the CPU, padded and time-major."""
    shapes = {name: tensor.shape for name, tensor in {**tensors_of(case), **weights_of(case)}.items()}
    seeds = {**{name: k for k, name in enumerate(weights_of(case))}, **ROLES}
    found = {name: draw(case.seed + DIRECTION + seeds[name], *shapes[name]) for name in names}
    return {name: v.to(case.dtype).double() for name, v in found.items()}


def _differentiable(case: Case, parameters: bool) -> list[str]:
    arguments = [name for name in ARGUMENTS if name in tensors_of(case) and is_asked_for(f"{name}.grad", case)]
    return [*arguments, *(name for name in weights_of(case) if parameters and name not in case.frozen)]


def _derivatives(layer: nn.Module, case: Case, names: list[str]) -> Results:
    """Return NAME.grad.grad for each name and NAME.cotangent.grad for each result of the loss."""
    require_gradients(layer, case)
    set_mode(layer, case.modes[-1])
    begun = Call(layer, case, tensors_of(case))
    parameters = parameters_of(layer)
    leaves = {name: begun.given[name] if name in begun.given else parameters[name] for name in names}
    cotangents = {name: begun.tensors[name].to(case.device, case.dtype).requires_grad_() for name in case.cotangents}
    gradients = _gradients(begun, cotangents, leaves)
    v = {
        name: (arranged(d, case, name) if name in ARGUMENTS else d).to(case.device, case.dtype)
        for name, d in directions(case, names).items()
    }
    first = {name: g for name, g in gradients.items() if g is not None and g.requires_grad}
    if first:
        with watched("second backward"):
            torch.autograd.backward(list(first.values()), [v[name] for name in first])
    found = {f"{name}.grad.grad": _in_order(leaf.grad, case, name) for name, leaf in leaves.items()}
    found |= {f"{name}.cotangent.grad": cotangent.grad for name, cotangent in cotangents.items()}
    return {name: None if g is None else g.detach().cpu() for name, g in found.items()}


def _gradients(begun: Call, cotangents: Mapping[str, Tensor], leaves: Mapping[str, Tensor]) -> Results:
    """Return the gradients of the loss, which can be differentiated again."""
    outputs, weights = begun.weighted(cotangents)
    if not outputs or not leaves:
        return {}
    with watched("backward"):
        found = torch.autograd.grad(outputs, list(leaves.values()), weights, create_graph=True, allow_unused=True)
    return dict(zip(leaves, found, strict=True))


def _in_order(gradient: Tensor | None, case: Case, name: str) -> Tensor | None:
    return canonical(gradient, case, name) if gradient is not None and name in ARGUMENTS else gradient


def limits(case: Case, names: list[str], copies: int) -> dict[str, Bound]:
    """Return the bound of every second derivative, from the imaginary parts of the oracle's gradients."""
    v = in_numpy(directions(case, names), case)
    step = complex_step(oracle_dtype(case.dtype))

    def stepped(arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {name: array + 1j * step * v.get(name, np.zeros_like(array)) for name, array in arrays.items()}

    weights, tensors = stepped(in_numpy(weights_of(case), case)), stepped(in_numpy(tensors_of(case), case))
    results = evaluate(case.spec, weights, inputs_of(case, tensors), Perturbed(case.dtype, copies, case.seed))
    real = {name: runs.real for name, runs in results.items()}
    second = {f"{name}.grad": results[f"{name}.grad"].imag / step for name in names}
    second |= {f"{name}.cotangent": results[name].imag / step for name in case.cotangents}
    found = bounds_of({**real, **{f"{name}.grad": runs for name, runs in second.items()}}, case.dtype)
    return {f"{name}.grad": found[f"{name}.grad"] for name in second}


SECOND_ORDER = Check(second_order, by(second_derivative))
