"""The state of a recurrent layer, whichever layer it is: h, or an LSTM's pair (h, c)."""

from torch import Tensor

State = Tensor | tuple[Tensor, Tensor]


def hidden(state: State) -> Tensor:
    """Return a state's h: all of it, or an LSTM's first half."""
    return state[0] if isinstance(state, tuple) else state


def detached(state: State) -> State:
    """Return a state without the graph that computed it: the values go on, the gradient ends there."""
    return (state[0].detach(), state[1].detach()) if isinstance(state, tuple) else state.detach()
