"""Hands a call to the recurrence of its kind."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from ..call import Call, tracks_gradients
from ..readable import Readable
from .gru import GRURecurrence
from .lstm import LSTMRecurrence
from .recurrence import FusedRecurrence, Recurrence, Steps, run
from .rnn import RNNRecurrence

WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
RECURRENCES: dict[str, Callable[[], Recurrence]] = {
    "tanh": lambda: RNNRecurrence(relu=False),
    "relu": lambda: RNNRecurrence(relu=True),
    "GRU": GRURecurrence,
    "LSTM": LSTMRecurrence,
}


class Operations:
    """The engine of PyTorch operations: see `Engine`. It takes one direction, without a projection."""

    def takes(self, call: Call) -> bool:
        """Whether it can compute this call."""
        return len(call.weights) == 1 and "weight_hr" not in call.weights[0]

    def run(self, call: Call) -> Sequence[Tensor]:
        """Return output and final states."""
        data, batch_sizes = call.data, call.batch_sizes
        steps = Steps([data.size(1)] * data.size(0) if batch_sizes is None else batch_sizes.tolist())
        recurrence = RECURRENCES[call.cell]()
        weights: list[Any] = [call.weights[0].get(name) for name in WEIGHTS]
        if tracks_gradients(call):
            readable = Readable(call.make_layer, batch_sizes, len(call.states), WEIGHTS)
            output, *finals = FusedRecurrence.apply(recurrence, readable, steps, data, *call.states, *weights)
        else:
            output, *finals = run(recurrence, steps, data, [s.squeeze(0) for s in call.states], weights)
        return output, *(s.unsqueeze(0) for s in finals)
