"""Layers on top of each other."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import dropout

from .sequences import Layer, Sequences, map_data
from .unroll import State, join_states, split_state


@dataclass
class Stacked:
    """Feed each layer the output of the one below, with dropout in between.

    output = layer_L(dropout(... layer_2(dropout(layer_1(input)))))

    Args:
        layers: the lowest first; any layers will do, if their states are alike.
        dropout: probability that an element of an output is zeroed, the highest layer's output aside; at 0
            no random number is drawn.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html, on `dropout`
    """

    layers: Sequence[Layer]
    dropout: float = 0.0

    def __call__(self, input: Sequences, state: State) -> tuple[Sequences, State]:
        """Run over the whole input.

        Args:
            input: padded (seq, batch, features), or packed with data (rows, features).
            state: initial state, a tensor or a tuple of tensors (layers*states, batch, hidden), the lowest
                layer's first.

        Returns:
            output, the highest layer's, padded (seq, batch, hidden) or packed as the input.
            state, the final one, as the initial one.
        """
        states = split_state(state, len(self.layers))
        output, states[0] = self.layers[0](input, states[0])
        for k, layer in enumerate(self.layers[1:], start=1):
            output, states[k] = layer(map_data(self._drop, output), states[k])
        return output, join_states(states)

    def _drop(self, data: Tensor) -> Tensor:
        return dropout(data, self.dropout) if self.dropout > 0 else data
