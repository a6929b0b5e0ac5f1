"""keras on JAX: SimpleRNN in float64 raises, for its first state is of float64 and the next of float32."""

import os

os.environ |= {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"}
import keras
import numpy as np

found = keras.layers.SimpleRNN(2, dtype="float64")(np.ones((1, 3, 2)))
assert found.dtype == "float64", f"{found.dtype}, not float64"
