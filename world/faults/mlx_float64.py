"""mlx on the CPU: sigmoid of float64 has the digits of float32, and so have GRU and LSTM."""

import mlx.core as mx
import numpy as np
from mlx import nn

mx.set_default_device(mx.cpu)
x, sigmoid = 0.5, 1 / (1 + np.exp(-1.5))  # every weight and bias is 1
by_hand = {
    "RNN": np.tanh(1.5),
    "GRU": (1 - sigmoid) * np.tanh(1.5 + sigmoid),
    "LSTM": sigmoid * np.tanh(sigmoid * np.tanh(1.5)),
}
wrong = []
for kind, true in by_hand.items():
    layer = getattr(nn, kind)(1, 1)
    layer.apply(lambda weight: mx.ones(weight.shape, mx.float64))
    found = layer(mx.full((1, 1, 1), x, mx.float64))
    found = (found[0] if kind == "LSTM" else found).item()
    wrong += [] if abs(found - true) < 1e-14 else [f"{kind}: {found:.16f}, not {true:.16f}"]
assert not wrong, "; ".join(wrong)
