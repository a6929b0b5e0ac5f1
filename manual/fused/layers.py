"""RNN, GRU and LSTM whose layers compute the whole sequence at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from .. import layers
from ..bidirectional import Bidirectional
from ..sequences import Layer, Sequences
from ..unroll import State
from .autograd import run
from .call import Call, Engine, MakeLayer, can_fuse
from .compiled import Compiled
from .operations import Operations


@dataclass
class Fused:
    """A layer of one direction or of two that an engine computes, called as the layers of torch.nn are.

    What no engine takes is left to the step function, unrolled over time: see `can_fuse`.

    Args:
        cell, make_layer, weights: as those of `Call`.
        engines: the first that takes a call computes it.
    """

    cell: str
    make_layer: MakeLayer
    weights: list[dict[str, Tensor]]
    engines: Sequence[Engine]

    def __call__(self, input: Sequences, state: State) -> tuple[Sequences, State]:
        """Run over the whole input.

        Args:
            input: padded (seq, batch, features), or packed with data (rows, features).
            state: initial state, a tensor or a tuple of tensors (directions, batch, hidden).

        Returns:
            output, padded (seq, batch, directions*hidden) or packed as the input.
            state, the final one, as the initial one.
        """
        data, batch_sizes = (input.data, input.batch_sizes) if isinstance(input, PackedSequence) else (input, None)
        states = (state,) if isinstance(state, Tensor) else state
        call = Call(self.cell, self.make_layer, self.weights, data, batch_sizes, states)
        engine = next((e for e in self.engines if e.takes(call)), None) if can_fuse(call) else None
        if engine is None:
            return self._otherwise(call)(input, state)
        output, *finals = run(engine, call)
        state = finals[0] if isinstance(state, Tensor) else tuple(finals)
        return PackedSequence(output, *input[1:]) if isinstance(input, PackedSequence) else output, state

    def _otherwise(self, call: Call) -> Layer:
        """The layer where no engine takes it: its directions one by one, or step by step."""
        if len(self.weights) == 2 and can_fuse(call):
            return Bidirectional(*(replace(self, weights=[of_direction]) for of_direction in self.weights))
        return self.make_layer(self.weights)


ENGINES: Sequence[Engine] = (Compiled(), Operations())


class RNN(layers.RNN):
    """Elman RNN, drop-in for torch.nn.RNN, that computes the whole sequence at once.

    The equations are those of `manual.RNN`.

    Args:
        As those of `manual.RNN`.

    Raises:
        ValueError, TypeError: as `manual.RNN`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html
    """

    engines: ClassVar[Sequence[Engine]] = ENGINES

    def _layer(self, weights: list[dict[str, Tensor]]) -> Layer:
        if type(self)._step is not layers.RNN._step:  # a step of its own, whose equations no engine knows
            return super()._layer(weights)
        return Fused(self.nonlinearity, super()._layer, weights, self.engines)


class GRU(layers.GRU):
    """Gated recurrent unit, drop-in for torch.nn.GRU, that computes the whole sequence at once.

    The equations are those of `manual.GRU`.

    Args:
        As those of `manual.GRU`.

    Raises:
        ValueError, TypeError: as `manual.GRU`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html (the reset after the product)
    """

    engines: ClassVar[Sequence[Engine]] = ENGINES

    def _layer(self, weights: list[dict[str, Tensor]]) -> Layer:
        if type(self)._step is not layers.GRU._step:  # a step of its own, whose equations no engine knows
            return super()._layer(weights)
        return Fused("GRU", super()._layer, weights, self.engines)


class LSTM(layers.LSTM):
    """Long short-term memory, drop-in for torch.nn.LSTM, that computes the whole sequence at once.

    The equations are those of `manual.LSTM`.

    Args:
        As those of `manual.LSTM`.

    Raises:
        ValueError, TypeError: as `manual.LSTM`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html
    """

    engines: ClassVar[Sequence[Engine]] = ENGINES

    def _layer(self, weights: list[dict[str, Tensor]]) -> Layer:
        if type(self)._step is not layers.LSTM._step:  # a step of its own, whose equations no engine knows
            return super()._layer(weights)
        return Fused("LSTM", super()._layer, weights, self.engines)
