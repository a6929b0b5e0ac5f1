"""Faults of layers, directions and their states: which of them is given what, and in which order they come back."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rnn_parity.bench.plain import PlainLayer, State

from .alter import Weights, each, read_as_contiguous, read_with, with_weight
from .catalogue import ALL, LSTMS, defect

Right = Callable[..., Any]


def _rows_as(order: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    """Return h_n and c_n with the rows of (num_layers, num_directions) in another order."""

    def last_states(layer: PlainLayer, right: Right, last: list[State], input: Any) -> Any:
        rows = torch.arange(len(last)).view(layer.spec.num_layers, -1)
        return right([last[row] for row in order(rows).flatten()], input)

    return last_states


def _directions_first(layer: PlainLayer, right: Right, states: list[State], index: int) -> State:
    number, direction = divmod(index, layer.spec.num_directions)
    return right(states, direction * layer.spec.num_layers + number)


def _forward_weight_hh(layer: PlainLayer, right: Right, suffix: str) -> Weights:
    return {**right(suffix), "weight_hh": right(suffix.removesuffix("_reverse"))["weight_hh"]}


def _forward_biases(layer: PlainLayer, right: Right, suffix: str) -> Weights:
    forward = right(suffix.removesuffix("_reverse"))
    return right(suffix) | {name: w for name, w in forward.items() if name.startswith("bias")}


def _forward_half(layer: PlainLayer, right: Right, suffix: str) -> Weights:
    """Read of the layer below its forward direction alone."""
    if suffix.startswith("l0") or not layer.spec.bidirectional:
        return right(suffix)
    half = layer.spec.state_size
    return with_weight(right(suffix), "weight_ih", lambda w: torch.cat([w[:, :half], 0 * w[:, half:]], dim=1))


def _state_of_forward(layer: PlainLayer, right: Right, states: list[State], index: int) -> State:
    return right(states, index - index % layer.spec.num_directions)


def _upper_offset(layer: PlainLayer, right: Right, suffix: str) -> Weights:
    """Find an upper layer's weights in the flat buffer by the size of the lowest."""
    w, sizes = right(suffix), layer.spec
    if suffix.startswith("l0"):
        return w
    flat = w["weight_ih"].flatten().roll(sizes.input_size - sizes.hidden_size)
    return {**w, "weight_ih": flat.view_as(w["weight_ih"])}


def _refuse_projection(layer: PlainLayer, right: Right, input: Any, hx: Any = None) -> Any:
    raise NotImplementedError("proj_size is not supported")


def _c_0_with_strides_of_h_0(layer: PlainLayer, right: Right, x: Tensor, hx: Any) -> list[State]:
    return right(x, hx if hx is None else (hx[0], read_with(hx[0].stride(), hx[1])))


def _require_contiguous(h: Tensor) -> Tensor:
    if not h.is_contiguous():
        raise RuntimeError("rnn: hx is not contiguous")
    return h


DEFECTS = (
    defect("reverse reads with the forward weight_hh", "pytorch#94754", ALL, weights=_forward_weight_hh),
    defect("reverse reads with the forward biases", "near coremltools#824", ALL, weights=_forward_biases),
    defect("upper layers read the forward direction alone", "pytorch#89357", ALL, weights=_forward_half),
    defect("reverse starts from the forward state", "onnx-tensorflow#409", ALL, initial_state=_state_of_forward),
    defect("directions swapped", "near pytorch#94754", ALL, join=lambda layer, right, halves: right(halves[::-1])),
    defect("first h_0 used for every layer", "pytorch#95137", ALL,
           initial_state=lambda layer, right, states, index: right(states, 0)),
    defect("state sliced with the directions first", "pytorch#95137", ALL, initial_state=_directions_first),
    defect("given state ignored", "near pytorch#95137", ALL,
           initial_states=lambda layer, right, x, hx: right(x, None)),
    defect("upper weights misplaced unless input_size is hidden_size", "mxnet#17479", ALL, weights=_upper_offset),
    defect("states in the wrong layer order", "known-defects: h_n in the wrong layer or direction order", ALL,
           last_states=_rows_as(lambda rows: rows.flip(0))),
    defect("states in the wrong direction order", "known-defects: h_n in the wrong layer or direction order", ALL,
           last_states=_rows_as(lambda rows: rows.flip(1))),
    defect("states with the directions first", "known-defects: h_n in the wrong layer or direction order", ALL,
           last_states=_rows_as(lambda rows: rows.T)),
    defect("c_n returned as h_n", "known-defects: c_n returned as h_n", LSTMS,
           last_states=lambda layer, right, last, input: right([(c[: len(h)], c) for h, c in last], input)),
    defect("h_n returned as c_n", "decaNLP#9", ("lstm",),
           last_states=lambda layer, right, last, input: right([(h, h) for h, _ in last], input)),
    # Of the quantized layer; here of the layer itself.
    defect("proj_size refused", "pytorch#74953", ("lstm-proj",), forward=_refuse_projection),
    defect("strided state read as contiguous", "PyHealth#800", ALL,
           initial_states=lambda layer, right, x, hx: right(x, each(hx, read_as_contiguous))),
    defect("c_0 read with the strides of h_0", "near PyHealth#800", ("lstm",),
           initial_states=_c_0_with_strides_of_h_0),
    defect("strided state refused", "darts#730", ALL,
           initial_states=lambda layer, right, x, hx: right(x, each(hx, _require_contiguous))),
)  # fmt: skip
