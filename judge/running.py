"""Running a layer on a case: from the case's padded tensors to the layer's own layout and back.

Whatever a layer does wrong on the way, an exception, a wrong type, shape or dtype, a changed argument, is raised as
`Misbehaviour` with one line that says what was expected and what came.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from .cases import EARLIER_CALL, Case, layout_of, tensors_of
from .implementation import Implementation

STATES = ("h_0", "c_0")


class Misbehaviour(Exception):
    """A layer did something no right layer does, whatever its numbers."""


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
    for parameter_name, parameter in layer.named_parameters():
        parameter.requires_grad_(parameter_name not in case.frozen)
    before = _snapshot(layer.named_parameters())
    for k, mode in enumerate(case.modes[:-1]):
        _earlier_call(layer, case, mode, EARLIER_CALL * (k + 1))
    layer.train(case.modes[-1] == "train")
    layer.zero_grad(set_to_none=True)
    if case.dropout_seed is not None:
        torch.manual_seed(case.dropout_seed)
    found = call(layer, case, tensors_of(case))
    if case.cotangents:
        for name, gradient in implementation.gradients_of(layer).items():
            if name in case.frozen and gradient is not None:
                raise Misbehaviour(f"{name} requires no gradient but was given one")
            if name not in case.frozen:
                found[f"{name}.grad"] = gradient
    _require_unchanged(before, _snapshot(layer.named_parameters()), "parameter")
    return {name: _on_cpu(tensor) for name, tensor in found.items()}


def _earlier_call(layer: nn.Module, case: Case, mode: str, seeds: int) -> None:
    """Train on or evaluate other, larger tensors with other weights: nothing of it may stay in the layer."""
    batch = case.batch + 1 if case.batched else 1
    loss = ("output",) if case.cotangents else ()
    other = replace(case, seq_len=case.seq_len + 1, batch=batch, lengths=None, cotangents=loss)
    tensors = tensors_of(other, seeds)
    if loss:
        tensors["output"] = torch.ones_like(tensors["output"])
    layer.train(mode == "train")
    layer.zero_grad(set_to_none=True)
    _negate_weights(layer)
    call(layer, other, tensors)
    _negate_weights(layer)


@torch.no_grad()
def _negate_weights(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        parameter.neg_()


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
    layer.train(case.modes[-1] == "train")
    found = call(layer, replace(case, cotangents=()), tensors)
    return {name: tensor.detach().to("cpu") for name, tensor in found.items()}


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
    given = {name: passed(tensors[name], case, name) for name in ("input", *STATES) if name in tensors}
    before = _snapshot(given.items())
    wants_grad = bool(case.cotangents) and case.input_grad
    for tensor in given.values():
        tensor.requires_grad_(wants_grad)
    arguments = arguments_for(given, case)
    with _raising_misbehaviour("forward"), torch.set_grad_enabled(bool(case.cotangents)):
        returned = layer(*arguments)
    results = _checked(returned, case, arguments[0])
    if case.cotangents:
        _backward(results, case, tensors)
    _require_unchanged(before, _snapshot(given.items()), "argument")
    found: dict[str, Any] = {name: _padded(result, case, name) for name, result in results.items()}
    if wants_grad:
        for name, tensor in given.items():
            found[f"{name}.grad"] = None if tensor.grad is None else _canonical(tensor.grad, case, name)
    return found


def _backward(results: Mapping[str, Any], case: Case, tensors: Mapping[str, Tensor]) -> None:
    outputs, cotangents = [], []
    for name in case.cotangents:
        result, cotangent = results[name], tensors[name]
        if isinstance(result, PackedSequence):
            result, cotangent = result.data, _pack(cotangent, case).data
        else:
            cotangent = _arranged(cotangent, case, name)
        if result.requires_grad:  # one that depends on nothing has no gradient, and is judged by that
            outputs.append(result)
            cotangents.append(cotangent.to(result))
    if not outputs:
        return
    with _raising_misbehaviour("backward"):
        torch.autograd.backward(outputs, cotangents)


def arguments_for(given: Mapping[str, Tensor], case: Case) -> tuple[Any, ...]:
    """Return what the layer is called with: the input, packed where the case is, and the state where given."""
    sequence: Any = given["input"]
    if case.lengths is not None:
        sequence = pack_padded_sequence(
            sequence,
            torch.tensor(case.lengths),
            batch_first=case.spec.batch_first,
            enforce_sorted=case.enforce_sorted,
        )
    if "h_0" not in given:
        return (sequence,)
    return (sequence, (given["h_0"], given["c_0"]) if "c_0" in given else given["h_0"])


def passed(tensor: Tensor, case: Case, name: str) -> Tensor:
    """Return a tensor of the case as the layer is to get it: its dtype, device, axes and memory layout."""
    tensor = _arranged(tensor, case, name).to(case.device, case.dtype)
    layout = layout_of(case, name)
    if layout == "transposed":
        return tensor.transpose(0, -1).contiguous().transpose(0, -1)
    if layout == "offset":
        return torch.cat([tensor.new_full((1,), torch.nan), tensor.flatten()])[1:].view(tensor.shape)
    if layout == "strided":  # reading the memory between is reading NaN
        return torch.stack([tensor, torch.full_like(tensor, torch.nan)], dim=-1)[..., 0]
    if layout == "expanded":
        batch_axis = _batch_axis(case, name)
        if batch_axis is not None:
            return tensor.narrow(batch_axis, 0, 1).clone().expand(tensor.shape)
    return tensor.clone(memory_format=torch.contiguous_format)


def _batch_axis(case: Case, name: str) -> int | None:
    if not case.batched:
        return None
    return 0 if name in ("input", "output") and case.spec.batch_first else 1


def _arranged(tensor: Tensor, case: Case, name: str) -> Tensor:
    """Turn (steps or rows, batch, features) into the axes the layer uses."""
    if not case.batched:
        return tensor[:, 0]
    return tensor.movedim(1, _batch_axis(case, name) or 0) if _batch_axis(case, name) == 0 else tensor


def _canonical(tensor: Tensor, case: Case, name: str) -> Tensor:
    """Undo `_arranged`."""
    if not case.batched:
        return tensor.unsqueeze(1)
    return tensor.transpose(0, 1) if _batch_axis(case, name) == 0 else tensor


def _pack(tensor: Tensor, case: Case) -> PackedSequence:
    lengths = torch.tensor(case.lengths)
    return pack_padded_sequence(tensor, lengths, enforce_sorted=case.enforce_sorted)


def _padded(result: Any, case: Case, name: str) -> Tensor:
    if isinstance(result, PackedSequence):
        return pad_packed_sequence(result)[0]
    return _canonical(result, case, name)


def _checked(returned: Any, case: Case, sequence: Any) -> dict[str, Any]:
    """Return output, h_n and c_n by name after checking every type, shape, dtype and device."""
    spec = case.spec
    form = "(output, (h_n, c_n))" if spec.kind == "lstm" else "(output, h_n)"
    try:
        output, state = returned
        states = dict(zip(("h_n", "c_n"), state, strict=True)) if spec.kind == "lstm" else {"h_n": state}
        if not isinstance(returned, tuple) or isinstance(state, Tensor) == (spec.kind == "lstm"):
            raise TypeError
    except (TypeError, ValueError):
        raise Misbehaviour(f"expected {form}, got {_kind_of(returned)}") from None
    features = spec.num_directions * spec.state_size
    if isinstance(sequence, PackedSequence):
        _check_packed(output, sequence, features, case)
    else:
        expected = _arranged(torch.empty(case.seq_len, case.batch, features), case, "output").shape
        _check_tensor("output", output, expected, case)
    rows = spec.num_layers * spec.num_directions
    shapes = {"h_n": (rows, case.batch, spec.state_size), "c_n": (rows, case.batch, spec.hidden_size)}
    for name, tensor in states.items():
        _check_tensor(name, tensor, _arranged(torch.empty(shapes[name]), case, name).shape, case)
    return {"output": output, **states}


def _check_tensor(name: str, tensor: Any, shape: torch.Size, case: Case) -> None:
    if not isinstance(tensor, Tensor):
        raise Misbehaviour(f"expected {name} to be a Tensor, got {_kind_of(tensor)}")
    came = (tuple(tensor.shape), tensor.dtype, tensor.device.type)
    expected = (tuple(shape), case.dtype, torch.device(case.device).type)
    if came != expected:
        raise Misbehaviour(f"expected {name} of shape, dtype and device {expected}, got {came}")


def _check_packed(output: Any, sequence: PackedSequence, features: int, case: Case) -> None:
    if not isinstance(output, PackedSequence):
        raise Misbehaviour(f"expected output to be a PackedSequence, got {_kind_of(output)}")
    _check_tensor("output.data", output.data, torch.Size((len(sequence.data), features)), case)
    for field in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        came, expected = (_listed(getattr(packed, field), case) for packed in (output, sequence))
        if came != expected:
            raise Misbehaviour(f"expected output.{field} to be the input's {expected}, got {came}")


def _listed(indices: Tensor | None, case: Case) -> list[int]:
    return list(range(case.batch)) if indices is None else indices.tolist()  # None is the order as it is


def _kind_of(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"Tensor{tuple(value.shape)}"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__}({', '.join(map(_kind_of, value))})"
    return type(value).__name__


def _snapshot(named: Any) -> dict[str, tuple[Any, ...]]:
    return {
        name: (tensor.detach().clone(), tuple(tensor.shape), tensor.stride(), tensor.requires_grad)
        for name, tensor in named
    }


def _require_unchanged(before: Mapping[str, Any], after: Mapping[str, Any], what: str) -> None:
    if before.keys() != after.keys():
        raise Misbehaviour(f"expected {what}s {', '.join(before)}, found {', '.join(after)} after the call")
    for name, (values, *form) in before.items():
        now, *form_now = after[name]
        if form[:2] != form_now[:2] or (what == "parameter" and form != form_now):
            raise Misbehaviour(f"{what} {name} changed from {form} to {form_now}: (shape, stride, requires_grad)")
        if not ((values == now) | (values.isnan() & now.isnan())).all():
            raise Misbehaviour(f"{what} {name} was changed in place")


def _on_cpu(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().to("cpu")


@contextmanager
def _raising_misbehaviour(stage: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        message = str(error).strip() or repr(error)
        raise Misbehaviour(f"{stage} raised {type(error).__name__}: {message}") from error
