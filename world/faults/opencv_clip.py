"""cv2.dnn: an ONNX GRU or LSTM ignores clip without a word."""

import cv2
import numpy as np
from onnx import TensorProto, helper


def run(kind, **attributes):
    """Output Y of one step, weights 1."""
    shape = (1, 4 if kind == "LSTM" else 3, 1)
    weights = [helper.make_tensor(n, TensorProto.FLOAT, shape, np.ones(shape).ravel()) for n in "WR"]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 1, 1))]
    outputs = [helper.make_tensor_value_info("Y", TensorProto.FLOAT, (1, 1, 1, 1))]
    node = helper.make_node(kind, ["x", "W", "R"], ["Y"], hidden_size=1, **attributes)
    graph = helper.make_graph([node], "g", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
    net.setInput(np.ones((1, 1, 1), "f"), "x")
    return net.forward().item()


found = {kind: run(kind, clip=1e-9) for kind in ("GRU", "LSTM")}  # what goes into the activations is all but 0
assert all(abs(out) < 1e-6 for out in found.values()), f"{found}, not 0"
