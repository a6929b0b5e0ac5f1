"""Running a layer on a case.

Whatever a layer does wrong on the way, an exception, a wrong type, shape or dtype, a changed argument or a changed
setting of PyTorch's, is raised as `Misbehaviour` with one line that says what was expected and what came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .candidate import Implementation
from .case import EARLIER_CALL, Case, tensors_of
from .guard import watched
from .layouts import arguments_for, arranged, canonical, handed_back, pack, padded, passed
from .misbehaviour import (
    ChangedInPlace,
    FrozenGradient,
    OtherParameters,
    Reformed,
    SharedMemory,
    WrongField,
    WrongGradientType,
    WrongPlace,
    WrongReturn,
    WrongType,
)
from .settings import seed_generators

ARGUMENTS = ("input", "h_0", "c_0")

CHANGED = 7.25  # what a result is overwritten with

GRAD_MODES: dict[str, Callable[[], Any]] = {
    "grad": torch.enable_grad,
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
}


def run(implementation: Implementation, layer: nn.Module, case: Case) -> dict[str, Tensor | None]:
    """Call the layer once for each of the case's modes and return what the last call gave.

    Args:
        implementation: where the gradients are read from.
        layer: with the case's weights.
        case: what to run it on.

    Returns:
        output, h_n, c_n and, where the case has cotangents, NAME.grad for input, states and parameters, all on the
        CPU in the case's dtype, padded and time-major; None for a gradient that was not given.

    Raises:
        Misbehaviour: see there.
    """
    before = _snapshot(require_gradients(layer, case))
    for k, mode in enumerate(case.modes[:-1]):
        _earlier_call(layer, case, mode, EARLIER_CALL * (k + 1))
    set_mode(layer, case.modes[-1])
    if case.dropout_seed is not None:
        seed_generators(case.dropout_seed, case.device)
    begun = Call(layer, case, tensors_of(case))
    if case.cotangents:
        begun.backward()
    found = begun.found()
    if case.cotangents:
        for name, gradient in parameter_gradients(implementation, layer, case).items():
            if name in case.frozen and gradient is not None:
                raise FrozenGradient(name)
            if name not in case.frozen:
                found[f"{name}.grad"] = gradient
    _require_unchanged(before, parameters_of(layer), "parameter")
    kept = {name: None if tensor is None else tensor.detach().clone().cpu() for name, tensor in found.items()}
    begun.require_separate()
    return kept


def _earlier_call(layer: nn.Module, case: Case, mode: str, seeds: int) -> None:
    """Train on or evaluate larger or smaller tensors with other weights: nothing of it may stay in the layer."""
    loss = ("output",) if case.cotangents else ()
    other = replace(
        case,
        seq_len=max(1, case.seq_len + case.more),
        batch=max(1, case.batch + case.more) if case.batched else 1,
        lengths=None,
        cotangents=loss,
        grad_mode="no_grad",
    )
    tensors = tensors_of(other, seeds)
    if loss:
        tensors["output"] = torch.ones_like(tensors["output"])
    set_mode(layer, mode)
    _negate_weights(layer)
    call(layer, other, tensors)
    _negate_weights(layer)


def _negate_weights(layer: nn.Module) -> None:
    with watched("parameters()"), torch.no_grad():
        for parameter in layer.parameters():
            parameter.neg_()


def parameters_of(layer: nn.Module) -> dict[str, nn.Parameter]:
    """Return a layer's parameters by name."""
    with watched("named_parameters()"):
        return dict(layer.named_parameters())


def require_gradients(layer: nn.Module, case: Case) -> dict[str, nn.Parameter]:
    """Have every parameter but the frozen ones require a gradient, and return them all by name."""
    parameters = parameters_of(layer)
    with watched("requires_grad_()"):
        for name, parameter in parameters.items():
            parameter.requires_grad_(name not in case.frozen)
    return parameters


def set_mode(layer: nn.Module, mode: str) -> None:
    """Put a layer into "train" or "eval", without gradients of calls before."""
    with watched("train()"):
        layer.train(mode == "train")
        layer.zero_grad(set_to_none=True)


def parameter_gradients(implementation: Implementation, layer: nn.Module, case: Case) -> dict[str, Tensor | None]:
    """Return the gradient of every parameter under its built-in name, None where there is none.

    A name that an adapter leaves out is not compared.

    Raises:
        Misbehaviour: an adapter raised, or gave something else than tensors.
    """
    with watched("gradients"):
        found = dict(implementation.gradients_of(layer))
    for name, gradient in found.items():
        if gradient is not None and not isinstance(gradient, Tensor):
            raise WrongGradientType(name, _kind_of(gradient))
        found[name] = None if gradient is None else gradient.detach()  # an adapter's may have a history
    if implementation.gradients is None:  # a layer's own parameters are all there
        return dict.fromkeys(case.spec.parameter_shapes()) | found
    return found


def run_tensors(layer: nn.Module, case: Case, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Call a layer on given tensors in the case's layout, without gradients.

    Args:
        layer: with its weights.
        case: shapes, lengths and layouts of the tensors.
        tensors: input and, where the state is given, h_0 and c_0, padded and time-major.

    Returns:
        output, h_n and c_n on the CPU, padded and time-major.

    Raises:
        Misbehaviour: see there.
    """
    set_mode(layer, case.modes[-1])
    found = call(layer, replace(case, cotangents=()), tensors)
    return {name: tensor.detach().cpu() for name, tensor in found.items()}


def call(layer: nn.Module, case: Case, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Run a layer forward and, where the case has cotangents, backward once.

    Args:
        layer: with its weights.
        case: shapes, lengths and layouts of the tensors.
        tensors: input, states and cotangents, padded and time-major.

    Returns:
        output, h_n and c_n; with cotangents also input.grad, h_0.grad and c_0.grad; padded and time-major.

    Raises:
        Misbehaviour: see there.
    """
    begun = Call(layer, case, tensors)
    if case.cotangents:
        begun.backward()
    return begun.found()


class Call:
    """One forward pass, of which any number of backward passes may follow.

    Args:
        layer: with its weights.
        case: shapes, lengths and layouts of the tensors.
        tensors: input, states and cotangents, padded and time-major.

    Raises:
        Misbehaviour: see there.
    """

    def __init__(self, layer: nn.Module, case: Case, tensors: Mapping[str, Tensor]) -> None:
        self.case, self.tensors = case, tensors
        self.given = {name: passed(tensors[name], case, name) for name in ARGUMENTS if name in tensors}
        self.before = _snapshot(self.given)
        for name, tensor in self.given.items():
            tensor.requires_grad_(bool(case.cotangents) and case.wants_grad(name))
        arguments = arguments_for(self.given, case)
        packed = arguments[0] if isinstance(arguments[0], PackedSequence) else None
        parts = _snapshot(_parts(packed))
        with GRAD_MODES["grad" if case.cotangents else case.grad_mode](), watched("forward"):
            returned = layer(*arguments)
        _require_unchanged(parts, _parts(packed), "argument")
        self.results = _checked(returned, case, arguments[0])

    def backward(self, retain_graph: bool = False) -> None:
        """Add the gradients of the loss that has the case's cotangents."""
        outputs, cotangents = self.weighted({name: self.tensors[name] for name in self.case.cotangents})
        if outputs:
            with watched("backward"):
                cotangents = [self._handed_on(cotangent) for cotangent in cotangents]
                torch.autograd.backward(outputs, cotangents, retain_graph=retain_graph)

    def backward_after(self, change: Callable[[dict[str, Tensor]], None]) -> None:
        """Add the gradients of a loss that was computed before an argument or a result was changed in place."""
        outputs, cotangents = self.weighted({name: self.tensors[name] for name in self.case.cotangents})
        if outputs:
            loss = torch.stack([(o * c).sum() for o, c in zip(outputs, cotangents, strict=True)]).sum()
            results = {name: r.data if isinstance(r, PackedSequence) else r for name, r in self.results.items()}
            change({**self.given, **results})
            self.before = _snapshot(self.given)
            with watched("backward"):
                torch.autograd.backward(loss)

    def weighted(self, cotangents: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the results that a gradient can be taken of, and for each its cotangent in the layer's own axes.

        Args:
            cotangents: by the name of their result, padded and time-major.
        """
        outputs, arranged_like = [], []
        for name, cotangent in cotangents.items():
            result = self.results[name]
            if isinstance(result, PackedSequence):
                result, cotangent = result.data, pack(cotangent, self.case).data
            else:
                cotangent = handed_back(cotangent, self.case, name)
            if result.requires_grad:  # one that depends on nothing has no gradient, and is judged by that
                outputs.append(result)
                arranged_like.append(cotangent.to(result))
        return outputs, arranged_like

    def _handed_on(self, cotangent: Tensor) -> Tensor:
        """Return the cotangent as autograd hands it on: that of a plain sum is one number, expanded."""
        return cotangent.new_ones(()).expand_as(cotangent) if self.case.plain_sum else cotangent

    def require_separate(self) -> None:
        """Change one result after the other in place: what others have, in results and arguments, is to stay."""
        results = {name: r.data if isinstance(r, PackedSequence) else r for name, r in self.results.items()}
        with torch.inference_mode():  # which may change its own tensors
            every = {**self.given, **results}
            expected = {name: tensor.detach().clone() for name, tensor in every.items()}
            for name, result in results.items():
                for changed in (result, expected[name]):
                    changed.detach().fill_(CHANGED)
                for other, values in expected.items():
                    if other != name and not _same(values, every[other].detach()):
                        raise SharedMemory(name, other)

    @torch.no_grad()  # since of a result that was changed in place some have no view with a history
    def found(self) -> dict[str, Any]:
        """Return the results and the gradients of the arguments, padded and time-major."""
        _require_unchanged(self.before, self.given, "argument")
        found: dict[str, Any] = {name: padded(result, self.case, name) for name, result in self.results.items()}
        for name, tensor in self.given.items():
            if self.case.cotangents and self.case.wants_grad(name):
                gradient = tensor.grad
                found[f"{name}.grad"] = None if gradient is None else canonical(gradient, self.case, name)
        return found


def _parts(packed: PackedSequence | None) -> dict[str, Tensor]:
    """Return the tensors of packed input: packing copies, so the padded tensor does not show what becomes of them."""
    fields = ("data", "batch_sizes", "sorted_indices", "unsorted_indices")
    parts = {f"input.{name}": getattr(packed, name, None) for name in fields}
    return {name: part for name, part in parts.items() if part is not None}


def _checked(returned: Any, case: Case, sequence: Any) -> dict[str, Any]:
    """Return output, h_n and c_n by name after checking every type, shape, dtype and device."""
    spec = case.spec
    form = "(output, (h_n, c_n))" if spec.kind == "lstm" else "(output, h_n)"
    try:
        output, state = returned
        lstm = spec.kind == "lstm" and case.final_states
        states = dict(zip(("h_n", "c_n"), state, strict=True)) if lstm else {"h_n": state}
        if not isinstance(returned, tuple) or (case.final_states and isinstance(state, Tensor) == lstm):
            raise TypeError
    except (TypeError, ValueError):
        raise WrongReturn(form, _kind_of(returned)) from None
    features = spec.num_directions * spec.state_size
    if isinstance(sequence, PackedSequence):
        _check_packed(output, sequence, features, case)
    else:
        expected = arranged(torch.empty(case.seq_len, case.batch, features), case, "output").shape
        _check_tensor("output", output, expected, case)
    if not case.final_states:
        return {"output": output}
    rows = spec.num_layers * spec.num_directions
    shapes = {"h_n": (rows, case.batch, spec.state_size), "c_n": (rows, case.batch, spec.hidden_size)}
    for name, tensor in states.items():
        _check_tensor(name, tensor, arranged(torch.empty(shapes[name]), case, name).shape, case)
    return {"output": output, **states}


def _check_tensor(name: str, tensor: Any, shape: torch.Size, case: Case) -> None:
    if not isinstance(tensor, Tensor):
        raise WrongType(name, "Tensor", _kind_of(tensor))
    came = (tuple(tensor.shape), tensor.dtype, str(tensor.device))
    expected = (tuple(shape), case.dtype, _device_of(case))
    if came != expected:
        raise WrongPlace(name, expected, came)


def _device_of(case: Case) -> str:
    """Return the device as a tensor there names it: with its index, where there can be several."""
    return "cpu" if case.device == "cpu" else str(torch.empty(0, device=case.device).device)


def _check_packed(output: Any, sequence: PackedSequence, features: int, case: Case) -> None:
    if not isinstance(output, PackedSequence):
        raise WrongType("output", "PackedSequence", _kind_of(output))
    _check_tensor("output.data", output.data, torch.Size((len(sequence.data), features)), case)
    for field in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        came, expected = (_listed(getattr(packed, field), case) for packed in (output, sequence))
        if came != expected:
            raise WrongField(field, expected, came)


def _listed(indices: Tensor | None, case: Case) -> list[int]:
    return list(range(case.batch)) if indices is None else indices.tolist()  # None is the order as it is


def _kind_of(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"Tensor{tuple(value.shape)}"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__}({', '.join(map(_kind_of, value))})"
    return type(value).__name__


def _snapshot(tensors: Mapping[str, Tensor]) -> dict[str, tuple[Any, ...]]:
    return {name: (tensor.detach().clone(), *_form(tensor)) for name, tensor in tensors.items()}


def _form(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.requires_grad


def _require_unchanged(before: Mapping[str, Any], after: Mapping[str, Tensor], what: str) -> None:
    if before.keys() != after.keys():
        raise OtherParameters(list(before), list(after))
    for name, (values, *form) in before.items():
        form_now = list(_form(after[name]))
        compared = len(form) if what == "parameter" else 3  # the judge itself makes arguments require gradients
        if form[:compared] != form_now[:compared]:
            raise Reformed(what, name, form, form_now)
        if not _same(values, after[name].detach()):
            raise ChangedInPlace(what, name)


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether values are the same, where there is NaN in both of them too."""
    return torch.equal(a, b) or bool(((a == b) | (a.isnan() & b.isnan())).all())
