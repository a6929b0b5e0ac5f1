"""A layer as a model of ONNX's operators RNN, GRU and LSTM, run by onnxruntime: forward, on the CPU."""

from collections.abc import Callable
from typing import Any

import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from rnn_parity.bench.arms import LeftOut, Setting

OPSET, IR_VERSION = 21, 10  # of 2024, which every onnxruntime allowed here reads
GATES = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}  # ONNX's z, r, h and i, o, f, c among those of torch.nn


def make_run(layer: nn.Module, setting: Setting) -> Callable[[Tensor], Tensor]:
    """Build the model of a layer of torch.nn.

    Returns:
        The function of the input (seq, batch, input) that returns the output (seq, batch, directions*hidden).

    Raises:
        LeftOut: ONNX or onnxruntime has no such layer.
    """
    if setting.proj_size or setting.dtype == "bfloat16":
        raise LeftOut("its operators have no projection and no bfloat16")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    # Its threads would wait busily while other arms are timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        session = onnxruntime.InferenceSession(model_of(layer, setting), options, ["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common class
        raise LeftOut(f"onnxruntime refuses the model: {str(error).splitlines()[0]}") from error
    return lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


def model_of(layer: nn.Module, setting: Setting) -> bytes:
    """Return the model as bytes: an operator for each layer, whose directions are then put side by side."""
    tensors, nodes, source = {"shape": torch.tensor([0, 0, -1])}, [], "x"
    for k in range(setting.num_layers):
        tensors |= {f"{name}{k}": tensor for name, tensor in weights_of(layer, setting, k).items()}
        attributes: dict[str, Any] = {"hidden_size": setting.shape.H}
        attributes |= {"direction": "bidirectional"} if setting.bidirectional else {}
        attributes |= {"linear_before_reset": 1} if setting.kind == "GRU" else {}
        nodes += [
            helper.make_node(setting.kind, [source, f"W{k}", f"R{k}", f"B{k}"], [f"Y{k}"], **attributes),
            helper.make_node(
                "Transpose", [f"Y{k}"], [f"beside{k}"], perm=(0, 2, 1, 3)
            ),  # (seq, batch, directions, hidden)
            helper.make_node("Reshape", [f"beside{k}", "shape"], [f"output{k}"]),
        ]
        source = f"output{k}"
    initializers = [numpy_helper.from_array(tensor.detach().numpy(), name) for name, tensor in tensors.items()]
    kind = TensorProto.DOUBLE if setting.dtype == "float64" else TensorProto.FLOAT
    x, output = (helper.make_tensor_value_info(name, kind, [None] * 3) for name in ("x", source))
    graph = helper.make_graph(nodes, "layer", [x], [output], initializer=initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return bytes(made.SerializeToString())


def weights_of(layer: nn.Module, setting: Setting, k: int) -> dict[str, Tensor]:
    """Return one layer's weights under ONNX's names, with a leading axis of directions and the gates in its order."""
    found: dict[str, list[Tensor]] = {"W": [], "R": [], "B": []}
    for direction in ("", "_reverse")[: 1 + setting.bidirectional]:
        names = (f"{name}_l{k}{direction}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        W, R, *biases = (reordered(getattr(layer, name), GATES[setting.kind]) for name in names)
        for name, tensor in zip(found, (W, R, torch.cat(biases)), strict=True):
            found[name].append(tensor)
    return {name: torch.stack(tensors) for name, tensors in found.items()}


def reordered(weight: Tensor, gates: tuple[int, ...]) -> Tensor:
    blocks = weight.chunk(len(gates))
    return torch.cat([blocks[gate] for gate in gates])
