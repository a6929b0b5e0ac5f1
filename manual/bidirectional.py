"""Two layers, one for each direction of time."""

from dataclasses import dataclass

import torch

from .sequences import Layer, Sequences, flip_time, map_data
from .unroll import State, join_states, split_state


@dataclass
class Bidirectional:
    """Run one layer forward in time and another backward, and put their outputs side by side.

    output = [forward(input), flip(backward(flip(input)))]

    Any two layers will do, those of torch.nn and other wrappers among them, if their states are alike.

    Args:
        forward: the layer that reads from the first step to the last.
        backward: the layer that reads from the last step to the first.
    """

    forward: Layer
    backward: Layer

    def __call__(self, input: Sequences, state: State) -> tuple[Sequences, State]:
        """Run over the whole input.

        Args:
            input: padded (seq, batch, features), or packed: each sequence is flipped within its own length.
            state: initial state, a tensor or a tuple of tensors (2*states, batch, hidden): that of
                `forward`, then that of `backward`.

        Returns:
            output, padded (seq, batch, 2*hidden) or packed as the input.
            state, the final one, as the initial one.
        """
        state_forward, state_backward = split_state(state, 2)
        output_forward, state_forward = self.forward(input, state_forward)
        output_backward, state_backward = self.backward(flip_time(input), state_backward)
        output = map_data(lambda *outputs: torch.cat(outputs, dim=-1), output_forward, flip_time(output_backward))
        return output, join_states([state_forward, state_backward])
