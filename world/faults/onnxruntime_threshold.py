"""onnxruntime: RNN, GRU and LSTM take 0 for the default alpha of ThresholdedRelu, which is 1."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

x = np.full((1, 1, 1), 0.5, "f")  # below the threshold
given, out = ([helper.make_tensor_value_info(n, TensorProto.FLOAT, None)] for n in "xy")
weights = [helper.make_tensor(n, TensorProto.FLOAT, (1, 1, 1), [1.0]) for n in "WR"]
found = []
for node in (
    helper.make_node("ThresholdedRelu", ["x"], ["y"]),
    helper.make_node("RNN", ["x", "W", "R"], ["y"], hidden_size=1, activations=["ThresholdedRelu"]),
):
    graph = helper.make_graph([node], "g", given, out, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found.append(session.run(None, {"x": x})[0].item())
assert found[1] == found[0], f"RNN with ThresholdedRelu: {found[1]:.6f}, not {found[0]:.6f}"
