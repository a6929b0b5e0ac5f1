"""From a case's padded, time-major tensors to the axes and the memory a layer gets them in, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from .case import ARGUMENT_OF, Case, layout_of


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
    tensor = arranged(tensor, case, name).to(case.device, case.dtype)
    layout = layout_of(case, name)
    if layout == "transposed":
        return _transposed(tensor)
    if layout == "offset":
        return torch.cat([tensor.new_full((1,), torch.nan), tensor.flatten()])[1:].view(tensor.shape)
    if layout == "strided":  # reading the memory between is reading NaN
        return torch.stack([tensor, torch.full_like(tensor, torch.nan)], dim=-1)[..., 0]
    if layout == "expanded":
        batch_axis = batch_axis_of(case, name)
        if batch_axis is not None:
            return tensor.narrow(batch_axis, 0, 1).clone().expand(tensor.shape)
    return tensor.clone(memory_format=torch.contiguous_format)


def batch_axis_of(case: Case, name: str) -> int | None:
    """Return where the batch axis of a tensor is as the layer gets it, None where there is none."""
    if not case.batched:
        return None
    return 0 if name in ("input", "output") and case.spec.batch_first else 1


def arranged(tensor: Tensor, case: Case, name: str) -> Tensor:
    """Turn (steps or rows, batch, features) into the axes the layer uses."""
    if not case.batched:
        return tensor[:, 0]
    return tensor.movedim(1, batch_axis_of(case, name) or 0) if batch_axis_of(case, name) == 0 else tensor


def handed_back(cotangent: Tensor, case: Case, name: str) -> Tensor:
    """Return a cotangent in the axes the layer uses, its memory transposed where that of the argument is."""
    cotangent = arranged(cotangent, case, name)
    return _transposed(cotangent) if layout_of(case, ARGUMENT_OF[name]) == "transposed" else cotangent


def _transposed(tensor: Tensor) -> Tensor:
    return tensor.transpose(0, -1).contiguous().transpose(0, -1)


def canonical(tensor: Tensor, case: Case, name: str) -> Tensor:
    """Undo `_arranged`."""
    if not case.batched:
        return tensor.unsqueeze(1)
    return tensor.transpose(0, 1) if batch_axis_of(case, name) == 0 else tensor


def pack(tensor: Tensor, case: Case) -> PackedSequence:
    """Pack a time-major tensor with the lengths of the case."""
    lengths = torch.tensor(case.lengths)
    return pack_padded_sequence(tensor, lengths, enforce_sorted=case.enforce_sorted)


def padded(result: Any, case: Case, name: str) -> Tensor:
    """Return a result of the layer padded and time-major."""
    if isinstance(result, PackedSequence):
        return pad_packed_sequence(result)[0]
    return canonical(result, case, name)
