"""What is timed: the settings, the implementations ("arms"), and the calls that all of them are timed by."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from rnn_parity import manual
from rnn_parity.judge.core.verdict import exact_products
from rnn_parity.manual.fused import Checkpointed
from rnn_parity.manual.fused.triton.engine import is_installed
from rnn_parity.manual.fused.triton.plans import plan, shared_memory

KINDS = ("RNN", "GRU", "LSTM")
STEPS = ("forward", "training")
# Where each layer comes from; operations and triton are the fused layers on one engine, triton on CUDA alone.
MODULES = {
    "builtin": "torch.nn",
    "manual": "rnn_parity.manual",
    "operations": "rnn_parity.manual.fused.on_operations",
    "fused": "rnn_parity.manual.fused",
    "triton": "rnn_parity.manual.fused.on_triton",
}
# per-sample is the RNN with a product for each sample, compiled is manual compiled, onnxruntime is ONNX's operators.
ARMS = (*MODULES, "per-sample", "compiled", "onnxruntime")


def arms_of(device: str) -> list[str]:
    """Return the arms that a device has."""
    return [name for name in ARMS if name != "triton" or device == "cuda"]


class Shape(NamedTuple):
    """Sizes of one benchmark: batch, seq_len, input_size, hidden_size."""

    B: int
    T: int
    I: int  # noqa: E741 (the letter of the table)
    H: int

    def __str__(self) -> str:
        return " ".join(f"{name}{size}" for name, size in self._asdict().items())


SHAPES = [
    Shape(10, 30, 5, 8),
    Shape(64, 28, 28, 64),
    Shape(100, 28, 28, 128),
    Shape(32, 35, 28, 256),
    Shape(32, 35, 28, 512),
]
STREAM = Shape(1, 1000, 28, 128)
# The one shape that is compiled: the loop is unrolled, so that compiling takes longer with every step.
COMPILED_SHAPE = Shape(64, 4, 28, 64)
COMPILE_SECONDS = 30  # a layer that takes longer to compile is left out


@dataclass(frozen=True)
class Setting:
    """A layer and its input.

    Args:
        kind: RNN, GRU or LSTM.
        shape: sizes of layer and input.
        dtype: name of the dtype of parameters and input.
        num_layers: as that of torch.nn.
        bidirectional: as that of torch.nn.
        packed: whether the input is packed, its lengths spread evenly from 1 to T.
        proj_size: as that of torch.nn.
        tf32: whether float32 products may be taken in TF32, on CUDA.
        graph: whether the call is captured as a CUDA graph and replayed.
    """

    kind: str
    shape: Shape
    dtype: str = "float32"
    num_layers: int = 1
    bidirectional: bool = False
    packed: bool = False
    proj_size: int = 0
    tf32: bool = False
    graph: bool = False

    @property
    def name(self) -> str:
        """The kind, and every option that is not at its default."""
        options = [
            f"{self.num_layers}-layer" * (self.num_layers > 1),
            "bidirectional" * self.bidirectional,
            self.kind,
            self.dtype * (self.dtype != "float32"),
            "packed" * self.packed,
            f"projection {self.proj_size}" * (self.proj_size > 0),
            "TF32" * self.tf32,
            "graph" * self.graph,
        ]
        return " ".join(filter(None, options))

    @property
    def lengths(self) -> Tensor:
        """Steps of each sequence, the longest first."""
        B, T = self.shape[:2]
        return torch.linspace(T, 1, B).round().long() if self.packed else torch.full((B,), T)

    def __str__(self) -> str:
        return f"{self.name} {self.shape}"


class LeftOut(RuntimeError):
    """An arm that has no place in a setting; the message says why."""


class OutOfTime(BaseException):
    """A time limit has passed; no Exception, so that what is interrupted does not handle it."""


class Arm(NamedTuple):
    """One implementation: what maps the input to the output's data, and the parameters it trains, if it does."""

    run: Callable[[Any], Tensor]
    parameters: list[nn.Parameter]


def make_layer(arm: str, setting: Setting, device: str) -> nn.Module:
    """Build the layer of one of `MODULES`, with the weights that all arms of a setting share."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"num_layers": setting.num_layers, "bidirectional": setting.bidirectional}
    options |= {"proj_size": setting.proj_size} if setting.proj_size else {}
    reference = getattr(nn, setting.kind)(setting.shape.I, setting.shape.H, **options)
    layer: nn.Module = getattr(import_module(MODULES[arm]), setting.kind)(setting.shape.I, setting.shape.H, **options)
    layer.load_state_dict(reference.state_dict())
    return layer.to(device, getattr(torch, setting.dtype))


def make_arm(arm: str, setting: Setting, device: str) -> Arm:
    """Build an arm.

    Args:
        arm: one of `ARMS`, or "checkpointed": the fused layer that keeps few of its states.
        setting: what it computes.
        device: where.

    Raises:
        LeftOut: it cannot, or would take too long.
    """
    if arm == "per-sample":
        return per_sample(setting, device)
    if arm == "onnxruntime":
        return onnxruntime(setting, device)
    if arm == "triton" and (reason := why_no_triton(setting, device)):
        raise LeftOut(reason)
    layer: Any = make_layer({"compiled": "manual", "checkpointed": "fused"}.get(arm, arm), setting, device)
    parameters = list(layer.parameters())
    if arm == "compiled":
        if setting.shape != COMPILED_SHAPE:
            raise LeftOut(f"compiled at {COMPILED_SHAPE} alone: compiling takes longer with every step")
        torch.compiler.reset()  # else it gives up after some layers, and runs them as they are
        layer = torch.compile(layer)
    if arm == "checkpointed":
        layer = Checkpointed(layer)
    return Arm(lambda x: data_of(layer(x)[0]), parameters)


def why_no_triton(setting: Setting, device: str) -> str | None:
    """Say why Triton's kernels do not compute a setting, which another engine then would; None where they do."""
    if device != "cuda":
        return "its kernels are CUDA's"
    if not is_installed():
        return "Triton is not installed"
    if "stand-in" in torch.cuda.get_device_name():
        return "the stand-in runs no kernels"
    cell, dtype = {"RNN": "tanh"}.get(setting.kind, setting.kind), getattr(torch, setting.dtype)
    if setting.proj_size or not plan(cell, setting.shape.H, dtype, setting.tf32, shared_memory(torch.device(device))):
        return "its kernels do not take this layer"
    return None


def per_sample(setting: Setting, device: str) -> Arm:
    if setting.kind != "RNN" or setting.packed or setting.bidirectional or setting.num_layers > 1:
        raise LeftOut("written for the RNN of one layer and direction, on padded input")
    W_ih, W_hh, b_ih, b_hh = parameters = list(make_layer("builtin", setting, device).parameters())
    h_0 = torch.zeros(setting.shape.B, setting.shape.H, device=device, dtype=getattr(torch, setting.dtype))
    return Arm(lambda x: manual.rnn_forward_per_sample(x, h_0, W_ih, W_hh, b_ih, b_hh)[0], parameters)


def onnxruntime(setting: Setting, device: str) -> Arm:
    if setting.packed or setting.proj_size or setting.dtype != "float32" or device != "cpu":
        raise LeftOut("its operators on the CPU take float32, padded input and no projection")
    try:
        from rnn_parity.bench.onnx_model import make_run
    except ModuleNotFoundError as error:
        raise LeftOut(f"needs {error.name}: pip install 'rnn-parity[bench]'") from error
    return Arm(make_run(make_layer("builtin", setting, device)), [])  # type: ignore[arg-type]


def data_of(sequences: Tensor | PackedSequence) -> Tensor:
    return sequences.data if isinstance(sequences, PackedSequence) else sequences


def make_input(setting: Setting, device: str) -> tuple[Any, Tensor]:
    """Draw the input and the cotangent of the output, both packed where the setting says so."""
    B, T, I, H = setting.shape  # noqa: E741
    generator = torch.Generator().manual_seed(1)
    sizes = I, (setting.proj_size or H) * (2 if setting.bidirectional else 1)
    x, cotangent = (torch.randn(T, B, size, generator=generator).to(getattr(torch, setting.dtype)) for size in sizes)
    if not setting.packed:
        return x.to(device), cotangent.to(device)
    packed, packed_cotangent = (pack_padded_sequence(s.to(device), setting.lengths) for s in (x, cotangent))
    return packed, packed_cotangent.data


def make_call(step: str, arm: Arm, x: Any, cotangent: Tensor) -> Callable[[], list[Tensor]]:
    """Return what is timed: the output without a graph, or the output and the gradient of every parameter.

    Raises:
        LeftOut: a training step of an arm that trains nothing.
    """
    if step == "training" and not arm.parameters:
        raise LeftOut("computes no gradients")

    def forward() -> list[Tensor]:
        with torch.no_grad():
            return [arm.run(x)]

    def training() -> list[Tensor]:
        output = arm.run(x)
        return [output, *torch.autograd.grad(output, arm.parameters, cotangent)]

    return {"forward": forward, "training": training}[step]


def captured(call: Callable[[], list[Tensor]]) -> Callable[[], list[Tensor]]:
    """Capture a call as a CUDA graph; the call returned replays it into the same results.

    Raises:
        LeftOut: it holds what a graph cannot, such as a copy from the CPU.
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # what is set up at the first call must not be captured
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            results = call()
    except RuntimeError as error:
        raise LeftOut(f"no CUDA graph: {str(error).splitlines()[0]}") from error

    def replay(keep: Any = call) -> list[Tensor]:  # the graph reads the call's input and weights, so they must live on
        graph.replay()
        return results

    return replay


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `OutOfTime` where the block takes longer; without limit on Windows, which has no alarm."""

    def stop(*_: Any) -> None:
        raise OutOfTime

    if sys.platform == "win32":
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def products(tf32: bool) -> Iterator[None]:
    """Switch TF32 on or off for all arms alike."""
    with exact_products():  # puts back what was set before
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        yield


def unit_roundoff(setting: Setting) -> float:
    return 2**-11 if setting.tf32 else torch.finfo(getattr(torch, setting.dtype)).eps / 2


@lru_cache(maxsize=64)
def exact_results(setting: Setting, step: str) -> list[Tensor]:
    """Return the results of the built-in in float64 on the CPU."""
    exact = make_layer("builtin", setting, "cpu").double()
    x, cotangent = make_input(setting, "cpu")
    arm = Arm(lambda x: data_of(exact(x)[0]), list(exact.parameters()))
    return make_call(step, arm, x.to(torch.float64), cotangent.double())()


class Truth:
    """The results of the built-in in float64 on the CPU, and how far those in the setting's own dtype are off.

    Where that is float64 itself, those in float32 say it, scaled by the roundoffs: the weights are those of float32.

    Args:
        setting: what is computed.
        step: forward or training.
        device: where.
    """

    def __init__(self, setting: Setting, step: str, device: str) -> None:
        self.results = exact_results(replace(setting, tf32=False, graph=False), step)
        rough = replace(setting, dtype="float32") if setting.dtype == "float64" else setting
        near = make_call(step, make_arm("builtin", rough, device), *make_input(rough, device))()
        scale = unit_roundoff(setting) / unit_roundoff(rough)
        self.own_errors = [scale * error for error in self._errors(near)]
        self.unit_roundoff = unit_roundoff(setting)

    def _errors(self, found: list[Tensor]) -> list[Tensor]:
        pairs = zip(found, self.results, strict=False)
        return [(ours.detach().cpu().double() - true).abs().max() for ours, true in pairs]

    def assert_equal_results(self, found: list[Tensor], gradients: bool = True) -> None:
        """Hold what a call returned against the truth, its gradients too or the output alone.

        A dtype must err: the built-in's own error on the same input says how much, to a factor. Other orders of
        summation were measured within 8 times it plus 8 roundings of the largest element.
        """
        several = self._errors(found), self.own_errors, self.results
        for error, own_error, true in zip(*(some if gradients else some[:1] for some in several), strict=True):
            bound = 8 * (own_error + self.unit_roundoff * true.abs().max())
            assert error <= bound, f"error {error:.3g}, bound {bound:.3g}"
