"""onnx.reference: an RNN with the activation Relu, which the standard has, raises."""

import numpy as np
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

inputs, outputs = ([helper.make_tensor_value_info(n, TensorProto.FLOAT, None)] for n in "xy")
weights = [helper.make_tensor(n, TensorProto.FLOAT, (1, 1, 1), [1.0]) for n in "WR"]
node = helper.make_node("RNN", ["x", "W", "R"], ["y"], hidden_size=1, activations=["Relu"])
model = helper.make_model(helper.make_graph([node], "g", inputs, outputs, weights))
found = ReferenceEvaluator(model).run(None, {"x": np.full((2, 1, 1), 2.0, "f")})[0].ravel()
assert found.tolist() == [2, 4], f"{found.tolist()}, not [2, 4]"
