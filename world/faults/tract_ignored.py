"""tract: an ONNX RNN with the activation Relu is computed with Tanh, and clip is ignored, without a word."""

from tempfile import TemporaryDirectory

import numpy as np
import onnx
import tract
from onnx import TensorProto, helper


def run(**attributes):
    """Output Y of one step, weights and input 1."""
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 1, 1))]
    out = [helper.make_tensor_value_info("Y", TensorProto.FLOAT, (1, 1, 1, 1))]
    weights = [helper.make_tensor(n, TensorProto.FLOAT, (1, 1, 1), [1.0]) for n in "WR"]
    node = helper.make_node("RNN", ["x", "W", "R"], ["Y"], hidden_size=1, **attributes)
    with TemporaryDirectory() as folder:
        onnx.save(helper.make_model(helper.make_graph([node], "g", given, out, weights)), f"{folder}/model.onnx")
        model = tract.onnx().load(f"{folder}/model.onnx").into_model().into_runnable()
    return model.run([np.ones((1, 1, 1), "f")])[0].to_numpy().item()


found, true = (run(activations=["Relu"]), run(clip=0.5)), (1.0, np.tanh(0.5))
assert np.allclose(found, true, rtol=1e-3), f"Relu, clip: {found}, not {true}"
