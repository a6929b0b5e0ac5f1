"""tract: an ONNX RNN, GRU or LSTM of direction reverse is computed forward, without a word."""

from tempfile import TemporaryDirectory

import numpy as np
import onnx
import tract
from onnx import TensorProto, helper

wrong = []
for kind, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
    last = {}
    for direction, x in (("reverse", (1, -1)), ("forward", (-1, 1))):  # the same sequence
        given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 1, 1))]
        out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 1, 1))]
        shapes = {"W": (1, gates, 1), "R": (1, gates, 1), "h": (1, 1, 1), "c": (1, 1, 1)}
        weights = [helper.make_tensor(n, TensorProto.FLOAT, s, np.ones(s).ravel()) for n, s in shapes.items()]
        inputs = ["x", "W", "R", "", "", "h", "c"][: 7 if kind == "LSTM" else 6]
        node = helper.make_node(kind, inputs, ["", "y"], hidden_size=1, direction=direction)
        with TemporaryDirectory() as folder:
            onnx.save(helper.make_model(helper.make_graph([node], "g", given, out, weights)), f"{folder}/m.onnx")
            model = tract.onnx().load(f"{folder}/m.onnx").into_model().into_runnable()
        last[direction] = model.run([np.float32(x).reshape(2, 1, 1)])[0].to_numpy().item()
    wrong += [] if np.isclose(*last.values()) else [f"{kind}: {last}"]
assert not wrong, "; ".join(wrong)
