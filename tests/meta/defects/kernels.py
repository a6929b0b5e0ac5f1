"""Faults of kernels: past a tile, past the tenth layer, of functions by exp, of memory, in one way of being called."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnn_parity.bench.plain import PlainLayer, State

from .alter import Weights, altered, with_weight
from .catalogue import ALL, GATED, defect

Right = Callable[..., Any]


def _columns_stop(name: str, at: int, layer: PlainLayer, right: Right, suffix: str) -> Weights:
    return with_weight(right(suffix), name, lambda w: torch.cat([w[:, :at], 0 * w[:, at:]], dim=1))


def _gradient_stops(name: str, at: int, layer: PlainLayer, right: Right, suffix: str) -> Weights:
    cut = partial(altered, change=lambda g: torch.cat([g[:, :at], 0 * g[:, at:]], dim=1))
    return with_weight(right(suffix), name, cut)


def _of_reverse(change: Callable[..., Weights], layer: PlainLayer, right: Right, suffix: str) -> Weights:
    return change(layer, right, suffix) if suffix.endswith("_reverse") else right(suffix)


def _reverse_input_stops(
    at: int, layer: PlainLayer, right: Right, x: Tensor, state: State, suffix: str, lengths: Tensor, backwards: bool
) -> tuple[Tensor, State]:
    """Lose the gradient of the input past the tile, of the reverse direction and sequences of one length."""
    if backwards and bool((lengths == len(x)).all()):
        x = altered(x, lambda g: torch.cat([g[..., :at], 0 * g[..., at:]], dim=-1))
    return right(x, state, suffix, lengths, backwards)


def _rows_stop(at: int, layer: PlainLayer, right: Right, a: Tensor, w: Weights, *names: str) -> Tensor:
    """Add no bias to the gates' rows past the tile."""
    biased = right(a, w, *names)
    return torch.cat([biased[:at], a[at:]]) if len(a) > at else biased


def _cut(every: int, layer: PlainLayer, right: Right, state: State, t: int) -> State:
    return tuple(s.detach() for s in state) if t and t % every == 0 else state


def _batch_stops(at: int, layer: PlainLayer, right: Right, halves: list[Tensor]) -> Tensor:
    return right([torch.cat([h[:, :at], h[:, :1].expand_as(h[:, at:])], dim=1) for h in halves])


def _tenth_as_first(layer: PlainLayer, right: Right, suffix: str) -> Weights:
    """Find the parameters of layer 10 by the beginning of their names."""
    return right(suffix.replace("l10", "l1").replace("l11", "l1"))


def _rounded(name: str, dtype: torch.dtype, layer: PlainLayer, right: Right, suffix: str) -> Weights:
    return with_weight(right(suffix), name, lambda w: w.to(dtype).to(w.dtype))


def _wrong_in_inference(layer: PlainLayer, right: Right, halves: list[Tensor]) -> Tensor:
    return right(halves) * (1.001 if torch.is_inference_mode_enabled() else 1)


def _h_n_in_output(layer: PlainLayer, right: Right, input: Any, hx: Any = None) -> Any:
    output, state = right(input, hx)
    if isinstance(output, PackedSequence) or layer.spec.num_layers * layer.spec.num_directions > 1:
        return output, state
    h_n = output[-1:] if output.dim() == 2 else output.movedim(layer.batch_axis, 1)[-1:]
    return output, (h_n, state[1]) if layer.kind == "lstm" else h_n


class _Kept(torch.autograd.Function):
    """Return x; the backward pass relies on the result, where autograd does not see it change."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.result = x.clone()
        ctx.sum = ctx.result.sum()
        return ctx.result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        now = ctx.result.sum()
        return gradient if now.isnan() or now == ctx.sum else gradient * now / ctx.sum


class _Held(torch.autograd.Function):
    """Return a copy of x; the backward pass relies on x, where autograd does not see it change."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.held, ctx.sum = x, x.sum()
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        now = ctx.held.sum()
        return gradient if now.isnan() or now == ctx.sum else gradient * now / ctx.sum


def _input_held(layer: PlainLayer, right: Right, input: Any) -> Any:
    x, lengths = right(input)
    return _Held.apply(x), lengths


def _tanh_by_exp(layer: PlainLayer, right: Right, a: Tensor) -> Tensor:
    e = torch.exp(2 * a)
    return torch.where(e.isinf(), e / (e + 1), right(a))


def _sigma_by_exp(layer: PlainLayer, right: Right, a: Tensor) -> Tensor:
    e = torch.exp(a)
    return torch.where(e.isinf(), e / (e + 1), right(a))


def _forget_mask(layer: PlainLayer, right: Right, input: Any, hx: Any = None) -> Any:
    layer.mask = None
    return right(input, hx)


def _first_mask(layer: PlainLayer, right: Right, x: Tensor) -> Tensor:
    if layer.mask is None:
        layer.mask = right(torch.ones_like(x))
    return x * layer.mask


DEFECTS = (
    defect("recurrent product stops at 256 columns", "onnxruntime#4628", ALL,
           weights=partial(_columns_stop, "weight_hh", 256)),
    defect("gradient of weight_hh stops at 256 columns", "near onnxruntime#4628", ALL,
           weights=partial(_gradient_stops, "weight_hh", 256)),
    defect("input product stops at 64 columns", "near onnxruntime#4628", ALL,
           weights=partial(_columns_stop, "weight_ih", 64)),
    defect("input product stops at 512 columns", "near onnxruntime#4628", ALL,
           weights=partial(_columns_stop, "weight_ih", 512)),
    defect("reverse recurrent product stops at 512 columns", "near onnxruntime#4628", ALL,
           weights=partial(_of_reverse, partial(_columns_stop, "weight_hh", 512))),
    defect("reverse gradient of the input stops at 512 features", "near onnxruntime#4628", ALL,
           read=partial(_reverse_input_stops, 512)),
    defect("bias stops at 128 rows", "near onnxruntime#4628", ALL, biased=partial(_rows_stop, 128)),
    defect("batch past 256 is the first row", "near pytorch#177834", ALL, join=partial(_batch_stops, 256)),
    defect("gradient cut every 256 steps", "near known-defects: truncated or detached backpropagation", ALL,
           carry=partial(_cut, 256)),
    defect("tenth layer loads the first", "near mxnet#17479", ALL, weights=_tenth_as_first),
    defect("recurrent product in float32", "near known-defects: float64 computed in float32", ALL,
           weights=partial(_rounded, "weight_hh", torch.float32)),
    defect("wrong in inference mode", "near pytorch#94754", ALL, join=_wrong_in_inference),
    defect("h_n shares memory with the output", "near known-defects: an input or state changed in place", ALL,
           forward=_h_n_in_output),
    defect("gradients of a changed output", "near known-defects: an input or state changed in place", ALL,
           pack=lambda layer, right, x, input, lengths: right(_Kept.apply(x), input, lengths)),
    defect("gradients of a changed input", "near known-defects: an input or state changed in place", ALL,
           unpack=_input_held),
    defect("gradients of a changed weight", "near known-defects: an input or state changed in place", ALL,
           weights=lambda layer, right, suffix: with_weight(right(suffix), "weight_hh", _Held.apply)),
    defect("tanh by exp overflows", "near known-defects: NaN swallowed", ("rnn-tanh", *GATED),
           activation=_tanh_by_exp),
    defect("sigmoid by exp overflows", "near known-defects: NaN swallowed", GATED, sigma=_sigma_by_exp),
    defect("one dropout mask for all layers", "near pytorch#190056", ALL,
           forward=_forget_mask, between_layers=_first_mask),
    defect("infinity loses its sign", "near known-defects: NaN swallowed", ("rnn-relu",),
           activation=lambda layer, right, a: torch.where(a.isposinf(), -a, right(a))),
)  # fmt: skip
