"""thinc.layers.LSTM: the backward pass leaves out the first step, and adds the weights to their gradient."""

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
found = backward(padded(1.0)).data.item(), layer.get_grad("LSTM")[0].item()
slope = (layer.predict(padded(0.51)).data.item() - layer.predict(padded(0.49)).data.item()) / 0.02
true = slope, 0.0  # the first weight is the forget gate's, and there is nothing to forget in the first step
assert np.allclose(found, true, atol=1e-2), f"gradient of input and of the first weight: {found}, not {true}"
