"""RNN, GRU and LSTM whose layers compute the whole sequence at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence

from .. import layers
from ..layers import under_autocast
from ..sequences import Layer, Sequences
from ..unroll import State, Step, Unrolled, unroll
from .gru import GRURecurrence
from .lstm import LSTMRecurrence
from .recurrence import FusedRecurrence, Recurrence, Steps, run
from .rnn import RNNRecurrence

WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


@dataclass
class Fused:
    """The layer of one direction: a recurrence over all steps at once, called as the layers of torch.nn are.

    What the recurrence cannot take is left to the step function, unrolled over time: see `can_fuse`.

    Args:
        recurrence: computes all steps.
        make_step: makes the step function of the same layer from its weights.
        weights: weight_ih, weight_hh, and bias_ih, bias_hh where the layer has them.
    """

    recurrence: Recurrence
    make_step: Callable[..., Step]
    weights: dict[str, Tensor]

    def __call__(self, input: Sequences, state: State) -> tuple[Sequences, State]:
        """Run over the whole input.

        Args:
            input: padded (seq, batch, features), or packed with data (rows, features).
            state: initial state, a tensor or a tuple of tensors (1, batch, hidden).

        Returns:
            output, padded (seq, batch, hidden) or packed as the input.
            state, the final one, as the initial one.
        """
        data, batch_sizes = (input.data, input.batch_sizes) if isinstance(input, PackedSequence) else (input, None)
        states = (state,) if isinstance(state, Tensor) else state
        if not can_fuse([data, *states, *self.weights.values()]):
            return Unrolled(self.make_step(**self.weights))(input, state)
        steps = Steps([data.size(1)] * data.size(0) if batch_sizes is None else batch_sizes.tolist())
        tensors: list[Any] = [data, *(s.squeeze(0) for s in states), *map(self.weights.get, WEIGHTS)]
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
            again = _Again(self.make_step, batch_sizes)
            output, *finals = FusedRecurrence.apply(self.recurrence, again, steps, *tensors)
        else:
            output, *finals = run(self.recurrence, steps, data, tensors[1:-4], tensors[-4:])
        finals = [s.unsqueeze(0) for s in finals]
        state = finals[0] if isinstance(state, Tensor) else tuple(finals)
        return PackedSequence(output, *input[1:]) if isinstance(input, PackedSequence) else output, state


@dataclass
class _Again:
    """The same layer step by step, for gradients that are to be differentiated."""

    make_step: Callable[..., Step]
    batch_sizes: Tensor | None

    def __call__(self, inputs: Sequence[Any]) -> list[Tensor]:
        data, *states = inputs[:-4]
        weights = {name: w for name, w in zip(WEIGHTS, inputs[-4:], strict=True) if w is not None}
        input = data if self.batch_sizes is None else PackedSequence(data, self.batch_sizes)
        output, final = unroll(self.make_step(**weights), input, states[0] if len(states) == 1 else tuple(states))
        return [output if self.batch_sizes is None else output.data, *([final] if len(states) == 1 else final)]


def can_fuse(tensors: Sequence[Tensor]) -> bool:
    """Whether a recurrence can compute with these tensors; else they are left to autograd, step by step.

    It takes plain tensors of one real dtype. It does not take what looks into each operation: the transforms of
    torch.func, forward-mode derivatives, tracing, compiling, autocast and subclasses of Tensor.

    Args:
        tensors: input, states and weights of one call.
    """
    first = tensors[0]
    return not (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._are_functorch_transforms_active()
        or under_autocast(first.device.type)
        or not first.is_floating_point()
        or any(not _is_plain(tensor) or tensor.dtype != first.dtype for tensor in tensors)
    )


def _is_plain(tensor: Tensor) -> bool:
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.layout == torch.strided
        and forward_ad.unpack_dual(tensor).tangent is None  # type: ignore[no-untyped-call]
    )


class RNN(layers.RNN):
    """Elman RNN, drop-in for torch.nn.RNN, that computes the whole sequence at once.

    The equations are those of `manual.RNN`, their gradients in `RNNRecurrence`.

    Args:
        As those of `manual.RNN`.

    Raises:
        ValueError, TypeError: as `manual.RNN`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html
    """

    def _layer(self, **weights: Tensor) -> Layer:
        if type(self)._step is not layers.RNN._step:
            return super()._layer(**weights)
        return Fused(RNNRecurrence(self.nonlinearity == "relu"), self._step, weights)


class GRU(layers.GRU):
    """Gated recurrent unit, drop-in for torch.nn.GRU, that computes the whole sequence at once.

    The equations are those of `manual.GRU`, their gradients in `GRURecurrence`.

    Args:
        As those of `manual.GRU`.

    Raises:
        ValueError, TypeError: as `manual.GRU`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html (the reset after the product)
    """

    def _layer(self, **weights: Tensor) -> Layer:
        if type(self)._step is not layers.GRU._step:
            return super()._layer(**weights)
        return Fused(GRURecurrence(), self._step, weights)


class LSTM(layers.LSTM):
    """Long short-term memory, drop-in for torch.nn.LSTM, that computes the whole sequence at once.

    The equations are those of `manual.LSTM`, their gradients in `LSTMRecurrence`. With a projection it computes step
    by step, as `manual.LSTM` does.

    Args:
        As those of `manual.LSTM`.

    Raises:
        ValueError, TypeError: as `manual.LSTM`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html
    """

    def _layer(self, **weights: Tensor) -> Layer:
        if type(self)._step is not layers.LSTM._step or self.proj_size > 0:
            return super()._layer(**weights)
        return Fused(LSTMRecurrence(), self._step, weights)
