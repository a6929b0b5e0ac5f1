"""A layer as a model of ONNX's operators RNN, GRU and LSTM, run by onnxruntime: forward, on the CPU."""

from collections.abc import Callable
from typing import Any

import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

OPSET, IR_VERSION = 21, 10  # of 2024, which every onnxruntime allowed here reads
GATES = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}  # ONNX's z, r, h and i, o, f, c among those of torch.nn


def make_run(layer: nn.RNNBase) -> Callable[[Tensor], Tensor]:
    """Build the model of a layer of torch.nn: in float32, with tanh, biases and no projection.

    Returns:
        The function of the input (seq, batch, input) that returns the output (seq, batch, directions*hidden).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    # Its threads would wait busily while other arms are timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(model_of(layer), options, ["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


def model_of(layer: nn.RNNBase) -> bytes:
    """Return the model as bytes: an operator for each layer, whose directions are then put side by side."""
    kind = layer.mode.removesuffix("_TANH")
    tensors, nodes, source = {"shape": torch.tensor([0, 0, -1])}, [], "x"
    for k in range(layer.num_layers):
        tensors |= {f"{name}{k}": tensor for name, tensor in weights_of(layer, GATES[kind], k).items()}
        attributes: dict[str, Any] = {"hidden_size": layer.hidden_size}
        attributes |= {"direction": "bidirectional"} if layer.bidirectional else {}
        attributes |= {"linear_before_reset": 1} if kind == "GRU" else {}
        nodes += [
            helper.make_node(kind, [source, f"W{k}", f"R{k}", f"B{k}"], [f"Y{k}"], **attributes),
            helper.make_node("Transpose", [f"Y{k}"], [f"beside{k}"], perm=(0, 2, 1, 3)),
            helper.make_node("Reshape", [f"beside{k}", "shape"], [f"output{k}"]),  # (seq, batch, directions*hidden)
        ]
        source = f"output{k}"
    initializers = [numpy_helper.from_array(tensor.detach().numpy(), name) for name, tensor in tensors.items()]
    x, output = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 3) for name in ("x", source))
    graph = helper.make_graph(nodes, "layer", [x], [output], initializer=initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return bytes(made.SerializeToString())


def weights_of(layer: nn.RNNBase, gates: tuple[int, ...], k: int) -> dict[str, Tensor]:
    """Return one layer's weights under ONNX's names, with a leading axis of directions and the gates in its order."""
    found: dict[str, list[Tensor]] = {"W": [], "R": [], "B": []}
    for direction in ("", "_reverse")[: 1 + layer.bidirectional]:
        names = (f"{name}_l{k}{direction}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        W, R, *biases = (reordered(getattr(layer, name), gates) for name in names)
        for name, tensor in zip(found, (W, R, torch.cat(biases)), strict=True):
            found[name].append(tensor)
    return {name: torch.stack(tensors) for name, tensors in found.items()}


def reordered(weight: Tensor, gates: tuple[int, ...]) -> Tensor:
    blocks = weight.chunk(len(gates))
    return torch.cat([blocks[gate] for gate in gates])
