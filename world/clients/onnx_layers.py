"""Layers of torch.nn, exported to ONNX by torch.onnx and run by ONNX's reference, ONNX Runtime, OpenVINO and OpenCV."""

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

Engine = Callable[[Sequence[np.ndarray]], Sequence[Any]]
NAMES = {"input": ("input", "h_0", "c_0"), "output": ("output", "h_n", "c_n")}


class Flat(nn.Module):
    """A layer whose states are arguments and results of their own."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, input: Tensor, h_0: Tensor | None = None, c_0: Tensor | None = None) -> Any:
        state = h_0 if c_0 is None else (h_0, c_0)
        output, state = self.layer(input) if h_0 is None else self.layer(input, state)
        return output, *(state if isinstance(state, tuple) else (state,))


def by_torchscript(layer: nn.Module, given: tuple[Tensor, ...], dynamic: bool) -> onnx.ModelProto:
    names = {
        "input_names": NAMES["input"][: len(given)],
        "output_names": NAMES["output"][: 2 + (type(layer) is nn.LSTM)],
    }
    batch = 0 if layer.batch_first else 1
    axes = {"input": {batch: "batch", 1 - batch: "seq_len"}, "h_0": {1: "batch"}, "c_0": {1: "batch"}}
    axes = {name: axes[name] for name in names["input_names"]} if dynamic else None
    buffer = io.BytesIO()
    torch.onnx.export(Flat(layer).eval(), given, buffer, dynamo=False, dynamic_axes=axes, **names)
    return onnx.load_from_string(buffer.getvalue())


def by_dynamo(layer: nn.Module, given: tuple[Tensor, ...], dynamic: bool) -> onnx.ModelProto:
    return torch.onnx.export(Flat(layer).eval(), given, dynamo=True, verbose=False).model_proto


class Exported(nn.Module):
    """A program for each set of arguments, and for each of their sizes where the engine has them fixed."""

    def __init__(
        self, layer: nn.Module, export: Callable[..., onnx.ModelProto], engine: Callable[..., Engine], dynamic: bool
    ):
        super().__init__()
        self.how, self.programs = (layer, export, engine, dynamic), {}  # the layer is no part: what was exported counts

    def forward(self, input: Tensor, state: Any = None) -> Any:
        layer, export, engine, dynamic = self.how
        states = () if state is None else state if isinstance(state, tuple) else (state,)
        given = tuple(t.detach().contiguous().clone() for t in (input, *states))
        key = len(given) if dynamic else tuple(t.shape for t in given)
        if key not in self.programs:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.programs[key] = engine(export(layer, given, dynamic))
        output, *states = (torch.from_numpy(np.array(a)) for a in self.programs[key]([t.numpy() for t in given]))
        return output, tuple(states) if isinstance(layer, nn.LSTM) else states[0]


def reference(model: onnx.ModelProto) -> Engine:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(model)
    return lambda arrays: evaluator.run(None, dict(zip(evaluator.input_names, arrays, strict=True)))


def onnxruntime(model: onnx.ModelProto) -> Engine:
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.log_severity_level, options.intra_op_num_threads, options.inter_op_num_threads = 4, 1, 1
    session = InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [input.name for input in session.get_inputs()]
    return lambda arrays: session.run(None, dict(zip(names, arrays, strict=True)))


def openvino(model: onnx.ModelProto) -> Engine:
    from openvino import Core

    core = Core()
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU")
    return lambda arrays: [np.array(compiled(arrays)[output]) for output in compiled.outputs]


def opencv(model: onnx.ModelProto) -> Engine:
    import cv2

    cv2.setNumThreads(1)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
    inputs, outputs = ([value.name for value in values] for values in (model.graph.input, model.graph.output))

    def run(arrays: Sequence[np.ndarray]) -> Sequence[Any]:
        for name, array in zip(inputs, arrays, strict=True):
            net.setInput(array, name)
        return net.forward(outputs)

    return run


class By:
    """Adapter."""

    def __init__(self, export: Any, engine: Any, *unsupported: str, dynamic: bool = True) -> None:
        self.how = export, engine, dynamic
        self.parity_unsupported = (
            "only forward",
            "packed",
            "dropout",
            "unbatched",
            "bfloat16",
            "float16",
            *unsupported,
        )

    def from_builtin(self, builtin: nn.Module) -> nn.Module:
        return Exported(builtin, *self.how)

    def gradients(self, layer: nn.Module) -> dict[str, Tensor | None]:
        return {}


in_reference = By(by_torchscript, reference, "proj_size")
in_onnxruntime = By(by_torchscript, onnxruntime, "proj_size", "float64")
in_onnxruntime_by_dynamo = By(by_dynamo, onnxruntime, "proj_size", "float64", dynamic=False)
in_openvino = By(by_torchscript, openvino, "proj_size", "float64")
in_opencv = By(by_torchscript, opencv, "proj_size", "float64", dynamic=False)
