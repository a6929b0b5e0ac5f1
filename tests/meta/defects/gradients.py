"""Faults of the backward pass alone, and of the one behind it: every value of the forward pass is right.

Equivalent, and so not here: relu's second derivative lost, which is zero wherever there is one.
"""

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnn_parity.bench.plain import PlainLayer, State

from .alter import Weights, altered, differentiable_once, doubled, each, read_as_contiguous, refuse, with_weight
from .catalogue import ALL, LSTMS, defect

Right = Callable[..., Any]


class _NeedsOutputGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *results: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        return tuple(result.view_as(result) for result in results)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if gradients[0] is None:
            raise RuntimeError("the gradient of output is undefined")
        return gradients


class _Sloped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, h: Tensor, slope: Tensor) -> Tensor:
        ctx.slope = slope
        return h.view_as(h)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient * ctx.slope, None, None


def _sloped(a: Tensor, h: Tensor, slope: Tensor) -> Tensor:
    """Return h as a function of a that has this slope, and no second derivative."""
    return _Sloped.apply(a, h.detach(), slope.detach())


def _output_gradient_needed(layer: PlainLayer, right: Right, input: Any, hx: Any = None) -> Any:
    output, state = right(input, hx)
    packed = isinstance(output, PackedSequence)
    states = state if isinstance(state, tuple) else (state,)
    data, *states = _NeedsOutputGradient.apply(output.data if packed else output, *states)
    return (output._replace(data=data) if packed else data), tuple(states) if len(states) > 1 else states[0]


class _Spoilt(torch.autograd.Function):
    """Return x; the gradient is right while no call without gradients has come between."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: PlainLayer) -> Tensor:
        ctx.layer, ctx.calls = layer, layer.calls
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient if ctx.layer.calls == ctx.calls else 1.01 * gradient, None


def _spoilt_by_evaluation(layer: PlainLayer, right: Right, x: Tensor, input: Any, lengths: Tensor) -> Any:
    layer.calls = getattr(layer, "calls", 0) + (not torch.is_grad_enabled())
    return right(_Spoilt.apply(x, layer), input, lengths)


def _c_0_with_h_0_alone(layer: PlainLayer, right: Right, x: Tensor, hx: Any) -> list[State]:
    lost = hx is not None and not hx[0].requires_grad
    return right(x, (hx[0], hx[1].detach()) if lost else hx)


def _h_n_cotangent_as_contiguous(layer: PlainLayer, right: Right, last: list[State], input: Any) -> Any:
    return each(right(last, input), lambda s: altered(s, read_as_contiguous))


def _detached(state: State) -> State:
    return tuple(s.detach() for s in state)


def _on_state(k: int, change: Callable[[Tensor], Tensor]) -> Callable[..., State]:
    """Return a change of h_0 (k = 0) or c_0 (k = 1)."""

    def initial_state(layer: PlainLayer, right: Right, states: list[State], index: int) -> State:
        state = list(right(states, index))
        state[k] = change(state[k])
        return tuple(state)

    return initial_state


def _weight_hh(change: Callable[[Tensor], Tensor]) -> Callable[..., Weights]:
    """Return a change of the gradient of weight_hh."""

    def weights(layer: PlainLayer, right: Right, suffix: str) -> Weights:
        return with_weight(right(suffix), "weight_hh", lambda w: altered(w, change))

    return weights


def _corrupted_now_and_then(gradient: Tensor) -> Tensor:
    return gradient + 0.1 if random.random() < 0.2 else gradient


def _biases_without_gradient(layer: PlainLayer, right: Right, suffix: str) -> Weights:
    w = right(suffix)
    return {name: altered(v, torch.zeros_like) if name.startswith("bias") else v for name, v in w.items()}


def _refused_if(condition: Callable[[PlainLayer], bool]) -> Callable[..., Tensor]:
    def join(layer: PlainLayer, right: Right, halves: list[Tensor]) -> Tensor:
        return altered(right(halves), refuse) if condition(layer) else right(halves)

    return join


def _partly_frozen(layer: PlainLayer) -> bool:
    return len({parameter.requires_grad for parameter in layer.parameters()}) > 1


DEFECTS = (
    defect("relu with another gradient", "pytorch#11662", ("rnn-relu",),
           activation=lambda layer, right, a: _sloped(a, right(a), 1 - right(a) ** 2)),
    defect("gradient through time halved", "axon#646", ALL,
           carry=lambda layer, right, state, t: tuple(altered(s, lambda g: g / 2) for s in state)),
    defect("gradient of weight_hh off by a percent", "mxnet#17898", ALL, weights=_weight_hh(lambda g: 1.01 * g)),
    defect("gradients of the biases zero", "mxnet#17872", ALL, weights=_biases_without_gradient),
    defect("gradient corrupted now and then", "tensorflow#26331", ALL, weights=_weight_hh(_corrupted_now_and_then)),
    defect("output detached", "keras#22279", ALL,
           pack=lambda layer, right, x, input, lengths: right(x.detach(), input, lengths)),
    defect("hidden state detached each step", "known-defects: truncated or detached backpropagation", ALL,
           carry=lambda layer, right, state, t: _detached(state)),
    defect("backpropagation truncated after 16 steps", "known-defects: truncated or detached backpropagation", ALL,
           carry=lambda layer, right, state, t: _detached(state) if t % 16 == 15 else state),
    *(
        defect(f"gradient of {name} {what}", "known-defects: a gradient doubled or lost for h_0 or c_0", variants,
               initial_state=_on_state(k, change))
        for k, name, variants in ((0, "h_0", ALL), (1, "c_0", LSTMS))
        for what, change in (("doubled", lambda s: altered(s, doubled)), ("lost", Tensor.detach))
    ),
    defect("gradient of c_0 lost unless h_0 has one", "near known-defects: a gradient doubled or lost for h_0 or c_0",
           LSTMS, initial_states=_c_0_with_h_0_alone),
    defect("gradients of h_n read as contiguous", "near PyHealth#800", ALL, last_states=_h_n_cotangent_as_contiguous),
    defect("gradients spoilt by a call without any", "near known-defects: state kept between calls", ALL,
           pack=_spoilt_by_evaluation),
    defect("backward needs a loss on output", "pytorch#96416", ALL, forward=_output_gradient_needed),
    defect("backward refused with batch_first", "pytorch#87579", ALL,
           join=_refused_if(lambda layer: layer.spec.batch_first)),
    defect("backward refused in eval", "pytorch#5878, pytorch#79161", ALL,
           join=_refused_if(lambda layer: not layer.training)),
    defect("backward refused with frozen parameters", "pytorch#776", ALL, join=_refused_if(_partly_frozen)),
    defect("no double backward", "pytorch#5261, pytorch#25315", ALL, weights=_weight_hh(differentiable_once)),
    defect("second derivative through weight_hh lost", "known-defects: a wrong second derivative", ALL,
           weights=_weight_hh(Tensor.detach)),
    defect("second derivative of tanh lost", "known-defects: a wrong second derivative",
           ("rnn-tanh", "gru", *LSTMS),
           activation=lambda layer, right, a: _sloped(a, right(a), 1 - right(a) ** 2)),
)  # fmt: skip
