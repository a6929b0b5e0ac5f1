"""Faults of a call: what it leaves changed behind it, what it keeps for the next, what it makes of NaN."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rnn_parity.bench.plain import PlainLayer, State

from .alter import each
from .catalogue import ALL, defect

Right = Callable[..., Any]


def _bias_reshaped(layer: PlainLayer, right: Right, input: Any, hx: Any = None) -> Any:
    result = right(input, hx)
    if layer.spec.bias:
        layer.bias_hh_l0.data = layer.bias_hh_l0.data[None]
    return result


def _input_changed(layer: PlainLayer, right: Right, input: Any, hx: Any = None) -> Any:
    result = right(input, hx)
    input.data.data.mul_(1.5)  # of a tensor or of a packed sequence, behind autograd's back
    return result


def _state_changed(layer: PlainLayer, right: Right, input: Any, hx: Any = None) -> Any:
    result = right(input, hx)
    each(hx, lambda h: h.data.add_(0.1))
    return result


def _kept_state(layer: PlainLayer, right: Right, x: Tensor, hx: Any) -> list[State]:
    kept: list[State] | None = getattr(layer, "kept", None)
    return right(x, hx) if hx is not None or kept is None or kept[0][0].shape[1] != x.shape[1] else kept


def _keep_state(layer: PlainLayer, right: Right, last: list[State], input: Any) -> Any:
    layer.kept = [tuple(s.detach() for s in state) for state in last]
    return right(last, input)


def _no_more_than_first(layer: PlainLayer, right: Right, x: Tensor, hx: Any) -> list[State]:
    layer.most = getattr(layer, "most", x.shape[1])
    if x.shape[1] > layer.most:
        raise RuntimeError(f"expected a batch of at most {layer.most}, got {x.shape[1]}")
    return right(x, hx)


def _input_without_nan(layer: PlainLayer, right: Right, input: Any) -> tuple[Tensor, Tensor]:
    x, lengths = right(input)
    return torch.where(x.isnan(), 0, x), lengths


DEFECTS = (
    defect("bias reshaped by forward", "pytorch#1721", ALL, forward=_bias_reshaped),
    defect("input changed in place", "known-defects: an input or state changed in place", ALL,
           forward=_input_changed),
    defect("state changed in place", "known-defects: an input or state changed in place", ALL,
           forward=_state_changed),
    defect("state kept between calls", "known-defects: state kept between calls", ALL,
           initial_states=_kept_state, last_states=_keep_state),
    defect("batch larger than the first call's refused", "near pytorch#191855", ALL,
           initial_states=_no_more_than_first),
    defect("NaN of the input swallowed", "known-defects: NaN swallowed", ALL, unpack=_input_without_nan),
    defect("NaN of the state swallowed", "known-defects: NaN swallowed", ALL,
           carry=lambda layer, right, state, t: tuple(torch.where(s.isnan(), 0, s) for s in state)),
)  # fmt: skip
