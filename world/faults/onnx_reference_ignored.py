"""onnx.reference: RNN, GRU and LSTM ignore sequence_lens and clip without a word."""

import numpy as np
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator


def run(kind, gates, inputs=("x", "W", "R"), **attributes):
    """Outputs Y and Y_h of two steps, weights 1."""
    shapes = {"x": (2, 1, 1), "W": (1, gates, 1), "R": (1, gates, 1)}
    weights = [helper.make_tensor(n, TensorProto.FLOAT, s, np.ones(s).ravel()) for n, s in shapes.items()]
    weights.append(helper.make_tensor("lens", TensorProto.INT32, (1,), [1]))
    node = helper.make_node(kind, inputs, ["Y", "Y_h"], hidden_size=1, **attributes)
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("Y", "Y_h")]
    model = helper.make_model(helper.make_graph([node], "g", [], outputs, weights))
    return [array.ravel() for array in ReferenceEvaluator(model).run(None, {})]


wrong = []
for kind, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
    (true, _), (found,) = run(kind, gates, ("x", "W", "R", "", "lens"))  # a sequence of one step ends after it
    wrong += [] if found == true else [f"{kind}, sequence_lens: {found:.6f}, not {true:.6f}"]
    (found, _), _ = run(kind, gates, clip=1e-9)  # what goes into the activations is all but 0, and so is the output
    wrong += [] if abs(found) < 1e-6 else [f"{kind}, clip: {found:.6f}, not 0"]
assert not wrong, "; ".join(wrong)
