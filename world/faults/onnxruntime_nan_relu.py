"""onnxruntime: an RNN with Relu gives 0 for NaN, where its own Relu gives NaN."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper


def run(node, **weights):
    """Output of the node, NaN its input."""
    inputs, outputs = ([helper.make_tensor_value_info(n, TensorProto.FLOAT, None)] for n in "xy")
    weights = [helper.make_tensor(n, TensorProto.FLOAT, a.shape, a.ravel()) for n, a in weights.items()]
    graph = helper.make_graph([node], "g", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.full((1, 1, 1), np.nan, "f")})[0].item()


one = np.ones((1, 1, 1), "f")
true = run(helper.make_node("Relu", ["x"], ["y"]))
found = run(helper.make_node("RNN", ["x", "W", "R"], ["y"], hidden_size=1, activations=["Relu"]), W=one, R=one)
assert np.isnan(found) == np.isnan(true), f"RNN with Relu: {found:.6f}, not {true}"
