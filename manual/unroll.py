"""A step function over time, and the state that one step hands to the next."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from .sequences import Sequences

# A state: h, or (h, c) for the LSTM. The first axis of a layer's state counts layers and directions.
State: TypeAlias = Float[Tensor, "_ batch _"] | tuple[Float[Tensor, "_ batch _"], ...]
StepState: TypeAlias = Float[Tensor, "batch _"] | tuple[Float[Tensor, "batch _"], ...]

# (x_t, state of the step before) -> (output_t, state)
Step: TypeAlias = Callable[[Tensor, Any], tuple[Tensor, Any]]


@dataclass
class InTwoParts:
    """A step that takes its input's product apart from the rest, so that it is taken for all steps at once.

    step(x_t, state) = of_state(of_input(x_t), state)

    Args:
        of_input: maps the input of one step, or of all, (..., features), to what `of_state` wants of it.
        of_state: takes that of one step and a state, returns output_t (batch, hidden) and the next state.
    """

    of_input: Callable[[Tensor], Tensor]
    of_state: Step

    def __call__(self, x_t: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Take one step."""
        return self.of_state(self.of_input(x_t), state)


def unroll(step: Step, input: Sequences, state: StepState) -> tuple[Sequences, StepState]:
    """Run a step over time, handing each step the state of the step before.

    output_t, state_t = step(x_t, state_{t-1})

    Packed sequences come longest first, so the batch shrinks from step to step: a sequence that has ended
    leaves the batch with the state it ended in.

    Args:
        step: takes x_t (batch, features) and a state, returns output_t (batch, hidden) and the next state.
        input: padded (seq, batch, features) of at least one step, or packed with data (rows, features).
        state: state before the first step, a tensor or a tuple of tensors (batch, hidden).

    Returns:
        output, the outputs of all steps, padded (seq, batch, hidden) or packed as the input.
        state, that of each sequence after its own last step, as the given one.
    """
    if isinstance(input, PackedSequence):
        return _unroll_packed(step, input, state)
    if isinstance(step, InTwoParts):
        input, step = step.of_input(input), step.of_state
    outputs = []
    for x_t in input.unbind(0):
        output_t, state = step(x_t, state)
        outputs.append(output_t)
    return torch.stack(outputs), state  # (seq, batch, hidden)


def _unroll_packed(step: Step, input: PackedSequence, state: StepState) -> tuple[PackedSequence, StepState]:
    data, batch_sizes = input.data, input.batch_sizes.tolist()
    if isinstance(step, InTwoParts):
        data, step = step.of_input(data), step.of_state
    steps = zip(torch.split(data, batch_sizes), [*batch_sizes[1:], 0], strict=True)
    outputs, ended = [], []
    for x_t, remaining in steps:
        output_t, state = step(x_t, state)
        outputs.append(output_t)
        if remaining < len(x_t):
            ended.append(map_state(lambda s, n=remaining: s[n:], state))
            state = map_state(lambda s, n=remaining: s[:n], state)
    # Who ends last comes first in the batch.
    state = map_state(lambda *tensors: torch.cat(tensors), *reversed(ended))
    return PackedSequence(torch.cat(outputs), *input[1:]), state


@dataclass  # not frozen, as no wrapper is: torch.compile of torch 2.11 cannot make one that is
class Unrolled:
    """The layer of one direction: a step unrolled over time, called as the layers of torch.nn are.

    Args:
        step: as that of `unroll`.
    """

    step: Step

    def __call__(self, input: Sequences, state: State) -> tuple[Sequences, State]:
        """Run over the whole input.

        Args:
            input: padded (seq, batch, features), or packed with data (rows, features).
            state: initial state, a tensor or a tuple of tensors (1, batch, hidden).

        Returns:
            output, padded (seq, batch, hidden) or packed as the input.
            state, the final one, as the initial one.
        """
        output, state = unroll(self.step, input, map_state(lambda s: s.squeeze(0), state))
        # Copies: whoever changes the final state in place changes nothing that the backward pass reads.
        return output, map_state(lambda s: s.unsqueeze(0).clone(), state)


def map_state(function: Callable[..., Tensor], *states: Any) -> Any:
    """Apply a function to the tensors of one or more states of the same structure.

    Args:
        function: takes as many tensors as there are states.
        states: each a tensor, or each a tuple of as many tensors.

    Returns:
        The state that the function makes, of the same structure.
    """
    if isinstance(states[0], Tensor):
        return function(*states)
    return tuple(function(*tensors) for tensors in zip(*states, strict=True))


def split_state(state: State, parts: int) -> list[State]:
    """Cut a state into equal parts along its first axis, the one that counts layers and directions."""
    return [map_state(lambda s, part=part: s.chunk(parts)[part], state) for part in range(parts)]


def join_states(states: list[State]) -> State:
    """Put states one after the other along their first axis: the inverse of `split_state`."""
    joined: State = map_state(lambda *tensors: torch.cat(tensors), *states)
    return joined
