"""cv2.dnn: an ONNX LSTM takes its peepholes in another order than the standard's i, o, f."""

import cv2
import numpy as np
from onnx import TensorProto, helper

weights = {
    **{"W": np.zeros((1, 4, 1)), "R": np.zeros((1, 4, 1)), "B": np.zeros((1, 8))},
    **{"h_0": np.ones((1, 1, 1)), "c_0": np.ones((1, 1, 1)), "P": np.array([[0.0, 0.0, 1.0]])},
}
tensors = [helper.make_tensor(n, TensorProto.FLOAT, w.shape, w.ravel()) for n, w in weights.items()]
given, out = ([helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 1, 1))] for n in ("x", "Y_h"))
node = helper.make_node("LSTM", ["x", "W", "R", "B", "", "h_0", "c_0", "P"], ["", "Y_h"], hidden_size=1)
graph = helper.make_graph([node], "g", given, out, tensors)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
net.setInput(np.zeros((1, 1, 1), "f"), "x")
found = net.forward().item()
true = np.tanh(1 / (1 + np.exp(-1.0))) / 2  # o tanh(f c_0), where o is 1/2 and f is sigmoid(P_f c_0)
assert np.isclose(found, true, rtol=1e-3), f"Y_h: {found:.6f}, not {true:.6f}"
