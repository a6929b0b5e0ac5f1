"""openvino: an ONNX LSTM ignores its peepholes P, and input_forget, without a word."""

import numpy as np
import openvino
from onnx import TensorProto, helper

weights = {"W": np.ones((1, 4, 1)), "R": np.zeros((1, 4, 1)), "P": np.ones((1, 3)), "one": np.ones((1, 1, 1))}
tensors = [helper.make_tensor(n, TensorProto.FLOAT, w.shape, w.ravel()) for n, w in weights.items()]


def cell(x, inputs, **attributes):
    """Output Y_c of one step, c_0 = 1."""
    given, out = ([helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 1, 1))] for n in ("x", "Y_c"))
    node = helper.make_node("LSTM", inputs, ["", "", "Y_c"], hidden_size=1, **attributes)
    graph = helper.make_graph([node], "g", given, out, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    compiled = openvino.Core().compile_model(openvino.Core().read_model(model.SerializeToString()), "CPU")
    return compiled([np.full((1, 1, 1), x, "f")])[0].item()


inputs, sigmoid = ("x", "W", "R", "", "", "one", "one", "P"), 1 / (1 + np.exp(-1.0))
found = cell(0.0, inputs), cell(1.0, inputs[:-1], input_forget=1)
true = sigmoid, 1 - sigmoid + sigmoid * np.tanh(1.0)
assert np.allclose(found, true, rtol=1e-3), f"P, input_forget: {found}, not {true}"
