"""cv2.dnn: an ONNX LSTM with first states and without B, which is optional, cannot be read."""

import cv2
import numpy as np
from onnx import TensorProto, helper

shapes = {"W": (1, 4, 1), "R": (1, 4, 1), "h_0": (1, 1, 1), "c_0": (1, 1, 1)}
weights = [helper.make_tensor(n, TensorProto.FLOAT, s, np.zeros(s).ravel()) for n, s in shapes.items()]
inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 1, 1))]
outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 1, 1, 1))]
node = helper.make_node("LSTM", ["x", "W", "R", "", "", "h_0", "c_0"], ["y"], hidden_size=1)
graph = helper.make_graph([node], "g", inputs, outputs, weights)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
net.setInput(np.ones((2, 1, 1), "f"), "x")
found = net.forward().ravel().tolist()
assert found == [0, 0], f"{found}, not [0, 0]"
