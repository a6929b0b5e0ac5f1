"""tinygrad.nn.LSTMCell, unrolled."""

from typing import Any

from tinygrad import Tensor
from tinygrad.nn import LSTMCell

from rnn_parity.judge.adapters import layer


def run(weights: Any, x: Any, h_0: Any, c_0: Any, lengths: Any) -> Any:
    cell = LSTMCell(weights.spec.input_size, weights.spec.hidden_size, weights.spec.bias)
    for name, values in weights.items():
        setattr(cell, name, Tensor(values))
    state, outputs = None if h_0 is None else (Tensor(h_0), Tensor(c_0)), []
    for step in x:
        state = tuple(s.realize() for s in cell(Tensor(step), state))
        outputs.append(state[0])
    return Tensor.stack(*outputs).numpy(), state[0].numpy(), state[1].numpy()


LSTM = layer("lstm", run, unsupported=("packed", "proj_size", "num_layers", "bidirectional"))
