"""Faults of one step: gates, biases, activations, precision.

Equivalent, and so not here: b_ih and b_hh swapped in an RNN or an LSTM, which enter by their sum alone, so that their
values, gradients and second derivatives are the same; only a GRU keeps them apart, in n.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rnn_parity.bench.plain import PlainGRU, PlainLayer, PlainLSTM, State

from .alter import Weights, with_weight
from .catalogue import ALL, GATED, LSTMS, RNNS, defect

Right = Callable[..., Any]


def _swap_gates(gates: str, pair: str, layer: PlainLayer, right: Right, suffix: str) -> Weights:
    """Read the rows of one gate as another's."""
    other = dict(zip(pair, reversed(pair), strict=True))
    order = [gates.index(other.get(gate, gate)) for gate in gates]
    w = right(suffix)
    return _gates_in_order(order, w)


def _gates_in_order(order: Sequence[int], w: Weights) -> Weights:
    return w | {name: torch.cat([w[name].chunk(len(order))[k] for k in order]) for name in w if name != "weight_hr"}


def _scale_bias(name: str, factor: int, layer: PlainLayer, right: Right, suffix: str) -> Weights:
    return with_weight(right(suffix), name, lambda bias: factor * bias)


def _b_hn(layer: PlainGRU, w: Weights) -> Tensor | int:
    return w["bias_hh"].chunk(3)[2][:, None] if layer.spec.bias else 0


def _reset_before(layer: PlainGRU, right: Right, a_ih: Tensor, a_hh: Tensor, h: Tensor, w: Weights) -> State:
    r, z, _ = right(a_ih, a_hh, h, w)
    return r, z, torch.tanh(a_ih.chunk(3)[2] + w["weight_hh"].chunk(3)[2] @ (r * h) + _b_hn(layer, w))


def _b_hn_outside(layer: PlainGRU, right: Right, a_ih: Tensor, a_hh: Tensor, h: Tensor, w: Weights) -> State:
    r, z, _ = right(a_ih, a_hh, h, w)
    return r, z, torch.tanh(a_ih.chunk(3)[2] + r * (a_hh.chunk(3)[2] - _b_hn(layer, w)) + _b_hn(layer, w))


def _note_absence(layer: PlainGRU, right: Right, x: Tensor, hx: Any) -> list[State]:
    layer.state_is_absent = hx is None
    return right(x, hx)


def _skip_b_hn(layer: PlainGRU, right: Right, a_ih: Tensor, a_hh: Tensor, h: Tensor, w: Weights) -> State:
    if layer.state_is_absent and not h.any():
        h_r, h_z, h_n = a_hh.chunk(3)
        a_hh = torch.cat([h_r, h_z, h_n - _b_hn(layer, w)])
    return right(a_ih, a_hh, h, w)


def _forget_more(layer: PlainLSTM, right: Right, a: Tensor) -> State:
    i, f, g, o = a.chunk(4)
    return right(torch.cat([i, f + 1, g, o]))


def _in_float32(layer: PlainLayer, right: Right, x: Tensor, state: State, w: Weights) -> State:
    narrow = right(x.float(), tuple(s.float() for s in state), {name: weight.float() for name, weight in w.items()})
    return tuple(s.to(x.dtype) for s in narrow)


DEFECTS = (
    *(
        defect(f"{pair[0]} and {pair[1]} swapped", "known-defects: gate order swapped", ("gru",),
               weights=partial(_swap_gates, "rzn", pair))
        for pair in ("rz", "rn", "zn")
    ),
    *(
        defect(f"{pair[0]} and {pair[1]} swapped", "known-defects: gate order swapped", LSTMS,
               weights=partial(_swap_gates, "ifgo", pair))
        for pair in ("if", "go", "ig", "io", "fg", "fo")
    ),
    # Where an exporter leaves the weights as they are: there the order is i, o, f, g.
    defect("gates in the order of ONNX", "near brevitas#1544", LSTMS,
           weights=lambda layer, right, suffix: _gates_in_order((0, 2, 3, 1), right(suffix))),
    *(
        defect(f"{name} {what}", "known-defects: a bias dropped or counted twice", ALL,
               weights=partial(_scale_bias, name, factor))
        for name in ("bias_ih", "bias_hh") for what, factor in (("dropped", 0), ("counted twice", 2))
    ),
    defect("bias_ih and bias_hh swapped", "near known-defects: a bias dropped or counted twice", ("gru",),
           biased=lambda layer, right, a, w, name: right(a, w, {"bias_ih": "bias_hh", "bias_hh": "bias_ih"}[name])),
    # What the export of linear_before_reset=1 without that attribute computes.
    defect("reset before the product", "onnxscript#2852, burn#2701, pytorch#189225", ("gru",),
           gates=_reset_before),
    defect("b_hn outside the reset", "coremltools#1124", ("gru",), gates=_b_hn_outside),
    defect("b_hn skipped in the first step without a state", "mlx#3249", ("gru",),
           initial_states=_note_absence, gates=_skip_b_hn),
    defect("z flipped", "known-defects: z against 1-z", ("gru",),
           mix=lambda layer, right, z, n, h: right(1 - z, n, h)),
    defect("forget bias plus one", "known-defects: forget bias + 1", LSTMS, gates=_forget_more),
    defect("h without tanh", "known-defects: h without tanh", LSTMS,
           hidden=lambda layer, right, o, c: o * c),
    defect("no tanh", "near known-defects: h without tanh", ("rnn-tanh", "gru"),
           activation=lambda layer, right, a: a),
    defect("sigmoid off by 3e-5", "known-defects: a sigmoid off by 3e-5", GATED,
           sigma=lambda layer, right, a: right(a) + 3e-5),
    defect("gates clipped at 6", "known-defects: gates clipped at 6", GATED,
           sigma=lambda layer, right, a: right(a.clamp(-6, 6))),
    defect("activation clipped at 6", "near known-defects: gates clipped at 6", RNNS,
           activation=lambda layer, right, a: right(a.clamp(-6, 6))),
    defect("cell clipped at 6 before its tanh", "near onnxruntime#27224", LSTMS,
           hidden=lambda layer, right, o, c: right(o, c.clamp(-6, 6))),
    defect("stale buffer without a bias", "onnxruntime#3893", ALL,
           biased=lambda layer, right, a, w, *names: right(a, w, *names)
           + (0.01 if a.shape[1] >= 3 and not layer.spec.bias else 0)),
    defect("float64 computed in float32", "known-defects: float64 computed in float32", ALL, step=_in_float32),
)  # fmt: skip
