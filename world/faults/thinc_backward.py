"""thinc.layers.LSTM: its backward pass gives a gradient of 0 for the input of the first step."""

import numpy as np
from thinc.api import LSTM, NumpyOps
from thinc.types import Padded


def padded(value):
    """One sequence of one step of one feature."""
    return Padded(np.full((1, 1, 1), value, "f"), *(np.array([n], "i") for n in (1, 1, 0)))


layer = LSTM(nO=1, nI=1, init_W=lambda ops, shape: ops.xp.ones(shape, "f"))
layer.ops = NumpyOps()
layer.initialize()
_, backward = layer(padded(0.5), is_train=True)
found = backward(padded(1.0)).data.item()
true = (layer.predict(padded(0.51)).data.item() - layer.predict(padded(0.49)).data.item()) / 0.02
assert np.isclose(found, true, rtol=1e-2), f"input gradient: {found:.6f}, not {true:.6f}"
