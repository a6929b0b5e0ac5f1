"""cv2.dnn: an ONNX GRU or LSTM of direction reverse gives another last state than forward of the reversed input."""

import cv2
import numpy as np
from onnx import TensorProto, helper


def last(kind, x, direction):
    """Output Y_h, weights 1."""
    shape = (1, 4 if kind == "LSTM" else 3, 1)
    weights = [helper.make_tensor(n, TensorProto.FLOAT, shape, np.ones(shape).ravel()) for n in "WR"]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 1, 1))]
    outputs = [helper.make_tensor_value_info("Y_h", TensorProto.FLOAT, (1, 1, 1))]
    node = helper.make_node(kind, ["x", "W", "R"], ["", "Y_h"], hidden_size=1, direction=direction)
    graph = helper.make_graph([node], "g", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
    net.setInput(np.array(x, "f").reshape(2, 1, 1), "x")
    return net.forward().item()


pairs = {kind: (last(kind, (1, -1), "reverse"), last(kind, (-1, 1), "forward")) for kind in ("GRU", "LSTM")}
assert all(np.isclose(*pair) for pair in pairs.values()), f"reverse, and forward of the reversed: {pairs}"
