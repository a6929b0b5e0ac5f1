"""Hands a call to the recurrence of its kind."""

from collections.abc import Callable

from ..call import Call, Passes
from .gru import GRURecurrence
from .lstm import LSTMRecurrence
from .passes import StepByStep
from .recurrence import Recurrence
from .rnn import RNNRecurrence

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

    def passes(self, call: Call) -> Passes:
        """Return the recurrence of its kind, over the steps of this call."""
        data, batch_sizes = call.data, call.batch_sizes
        sizes = [data.size(1)] * data.size(0) if batch_sizes is None else batch_sizes.tolist()
        return StepByStep(RECURRENCES[call.cell](), sizes)
