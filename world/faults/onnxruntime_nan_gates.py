"""onnxruntime: GRU and LSTM with a bias turn NaN in the input into finite numbers; without a bias they keep it."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

wrong = []
for kind, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
    for bias in (False, True):
        arrays = {"W": np.ones((1, gates, 1), "f"), "R": np.ones((1, gates, 1), "f")}
        arrays |= {"B": np.ones((1, 2 * gates), "f")} if bias else {}
        node = helper.make_node(kind, ["x", *arrays], ["y"], hidden_size=1)
        inputs, outputs = ([helper.make_tensor_value_info(n, TensorProto.FLOAT, None)] for n in "xy")
        weights = [helper.make_tensor(n, TensorProto.FLOAT, a.shape, a.ravel()) for n, a in arrays.items()]
        graph = helper.make_graph([node], "g", inputs, outputs, weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        found = session.run(None, {"x": np.full((1, 1, 1), np.nan, "f")})[0].item()
        wrong += [] if np.isnan(found) else [f"{kind}, {bias = }: {found:.6f}, not nan"]
assert not wrong, "; ".join(wrong)
