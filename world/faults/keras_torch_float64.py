"""keras on torch: cells of float64 multiply in float32, and call what comes out float64."""

import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np

x, ones = np.array([[[0.1, 0.2, 0.3]]]), keras.initializers.Ones
z, sigmoid = x.sum(), 1 / (1 + np.exp(-x.sum()))
by_hand = {"SimpleRNN": np.tanh(z), "GRU": (1 - sigmoid) * np.tanh(z), "LSTM": sigmoid * np.tanh(sigmoid * np.tanh(z))}
wrong = []
for kind, true in by_hand.items():
    cell = getattr(keras.layers, f"{kind}Cell")(1, kernel_initializer=ones(), dtype="float64")
    found = keras.layers.RNN(cell, dtype="float64")(keras.ops.convert_to_tensor(x, "float64"))
    assert keras.backend.standardize_dtype(found.dtype) == "float64"
    wrong += [] if abs(found.item() - true) < 1e-14 else [f"{kind}: {found.item():.16f}, not {true:.16f}"]
assert not wrong, "; ".join(wrong)
