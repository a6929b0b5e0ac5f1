"""Who is judged: for each package what is installed, and its layers, each by the client that reaches it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

CLIENTS = "rnn_parity.world.clients"


@dataclass(frozen=True)
class Entry:
    """A layer.

    Args:
        name: of the layer, as its package has it.
        kind: "rnn", "gru" or "lstm".
        client: MODULE:ATTRIBUTE in `clients`.
        reached: how, in one clause.
        dialect: what its equations have that those of torch.nn have not, in one clause.
        differs: by aspect, what is documented to be another way, and where.
        dtypes: it is judged in.
        examples: cases of each trial where it is slow, None for as many as of all.
        asked: the aspects that are asked where it is very slow; all unless told.
    """

    name: str
    kind: str
    client: str
    reached: str
    dialect: str = ""
    differs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    dtypes: tuple[str, ...] = ("float64", "float32")
    examples: int | None = None
    asked: tuple[str, ...] = ()

    @property
    def location(self) -> str:
        """MODULE:ATTRIBUTE for the judge."""
        return f"{CLIENTS}.{self.client}"


@dataclass(frozen=True)
class Package:
    """A package, and an environment for it.

    Args:
        name: of the distribution, whose version is shown.
        requirements: what is installed, from the version on that was seen to work; nothing for PyTorch, which is there.
        entries: its layers.
        variables: of the process that it is judged in.
        told_apart: the name of its environment, where it is not that of the package.
    """

    name: str
    requirements: tuple[str, ...]
    entries: tuple[Entry, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    told_apart: str = ""

    @property
    def called(self) -> str:
        """What the command and the page call it."""
        return self.told_apart or self.name


def each(name: str, client: str, reached: str, kinds: str = "rnn gru lstm", **more: Any) -> tuple[Entry, ...]:
    """Return an entry for each kind; in name and client {} is the kind, {KIND} in the letters of torch.nn."""
    return tuple(
        Entry(name.format(KIND=kind.upper()), kind, client.format(kind, KIND=kind.upper()), reached, **more)
        for kind in kinds.split()
    )


# Without XLA's fusion emitters, whose gradients are not always right: see faults/jax_scan_gradient.py.
XLA = "--xla_cpu_use_fusion_emitters=false --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
JAX = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": XLA}
FLOAT32 = ("float32",)
COMPILED: dict[str, Any] = {  # JAX compiles for every shape anew
    "dtypes": ("float64",),
    "examples": 1,
    "asked": ("forward", "gradients", "state"),
}
SLOW: dict[str, Any] = {"dtypes": FLOAT32, "examples": 1, "asked": ("forward", "gradients")}  # C++ for each size
ALIVE = "with biases, in training mode: else it ends the process, or raises"
KERAS = (
    Entry("SimpleRNN", "rnn", "keras_layers:SimpleRNN", "stacked, Bidirectional, masks"),
    Entry("GRU", "gru", "keras_layers:GRU", "stacked, Bidirectional, masks"),
    Entry("GRU, reset_after=False", "gru", "keras_layers:GRUResetBefore", "as GRU", "reset before the product"),
    Entry("LSTM", "lstm", "keras_layers:LSTM", "stacked, Bidirectional, masks"),
)

PACKAGES = (
    Package(
        "torch",
        (),
        (
            *each("nn.{KIND}", "torch_layers:{KIND}", "as it is"),
            Entry("ao.nn.quantizable.LSTM", "lstm", "torch_layers:quantizable", "before it is converted"),
            *each("nn.{KIND} without oneDNN", "torch_layers:Plain{KIND}", "oneDNN's kernels off"),
            *each("nn.{KIND}Cell", "torch_layers:cells", "in a loop"),
            *each("vmap of nn.{KIND}Cell", "torch_layers:vmapped_cells", "over the batch, in a loop", "rnn gru"),
            *each(
                "vmap over the weights of nn.{KIND}Cell", "torch_layers:ensembles", "two of them, in a loop", "rnn gru"
            ),
            *each(
                "export of nn.{KIND}",
                "torch_layers:export",
                "any batch, a program for each length",
                examples=1,
                asked=("forward", "gradients"),
            ),
            *each("script of nn.{KIND}", "torch_layers:script", "TorchScript"),
            *each("functional_call of nn.{KIND}", "torch_layers:functional_call", "torch.func"),
            *each("checkpoint of nn.{KIND}", "torch_layers:checkpoint", "torch.utils.checkpoint, not reentrant"),
            *each("parametrized nn.{KIND}", "torch_layers:parametrized", "a parametrization that changes nothing"),
            *each("weight_norm of nn.{KIND}", "torch_layers:weight_normed", "on every weight"),
            *each("autocast of nn.{KIND}", "torch_layers:amp", "float32 to bfloat16, on the CPU", dtypes=("bfloat16",)),
            *each(
                "dynamic quantization of nn.{KIND}",
                "torch_layers:dynamic_quantized",
                "8 bits, by what bfloat16 allows; NaN and infinity have none",
                "gru lstm",
                dtypes=("bfloat16",),
                asked=("forward", "state", "stacking", "layouts", "relations", "repeatability"),
            ),
            *each("compile of nn.{KIND}", "torch_layers:compile", "Dynamo calls it as it is", examples=1),
            *each(
                "compile of nn.{KIND}Cell",
                "torch_layers:compiled_cells",
                "by Inductor, fullgraph, dynamic, in a loop",
                **SLOW,
            ),
            *each(
                "AOTInductor of nn.{KIND}Cell",
                "torch_layers:packaged_cells",
                "a package for any batch, in a loop, forward alone",
                **SLOW,
            ),
        ),
    ),
    Package(
        "onnx",
        ("onnx>=1.23", "onnxscript>=0.7"),
        each("reference {KIND}", "onnx_layers:in_reference", "torch.onnx.export(dynamo=False), ReferenceEvaluator"),
    ),
    Package(
        "onnxruntime",
        ("onnxruntime>=1.32", "onnx>=1.23", "onnxscript>=0.7"),
        (
            *each("{KIND}", "onnx_layers:in_onnxruntime", "torch.onnx.export(dynamo=False)"),
            *each(
                "{KIND} (dynamo)",
                "onnx_layers:in_onnxruntime_by_dynamo",
                "torch.onnx.export(dynamo=True)",
                "gru lstm",
                examples=1,
                asked=("forward", "state", "nonfinite"),
            ),
        ),
    ),
    Package(
        "openvino",
        ("openvino>=2026.4", "onnx>=1.23", "onnxscript>=0.7"),
        each("{KIND}", "onnx_layers:in_openvino", "torch.onnx.export(dynamo=False)"),
    ),
    Package(
        "opencv-python-headless",
        ("opencv-python-headless>=5", "onnx>=1.23", "onnxscript>=0.7"),
        each("dnn {KIND}", "onnx_layers:in_opencv", "torch.onnx.export(dynamo=False), for each shape", "gru lstm"),
    ),
    Package("keras", ("keras>=3.15",), KERAS, {"KERAS_BACKEND": "torch"}),
    Package(
        "keras",
        ("keras>=3.15", "jax>=0.10"),
        tuple(replace(entry, **COMPILED) for entry in KERAS),
        {"KERAS_BACKEND": "jax", **JAX},
        "keras-jax",
    ),
    Package(
        "keras",
        ("keras>=3.15", "tensorflow-cpu>=2.21"),
        tuple(replace(entry, **COMPILED) for entry in KERAS),
        {"KERAS_BACKEND": "tensorflow"},
        "keras-tensorflow",
    ),
    Package(
        "flax",
        ("flax>=0.12", "jax>=0.10"),
        (
            Entry("linen.SimpleCell", "rnn", "flax_layers:LinenSimple", "by linen.RNN", **COMPILED),
            Entry("linen.GRUCell", "gru", "flax_layers:LinenGRU", "by linen.RNN", **COMPILED),
            Entry("linen.LSTMCell", "lstm", "flax_layers:LinenLSTM", "by linen.RNN", **COMPILED),
            Entry("linen.OptimizedLSTMCell", "lstm", "flax_layers:LinenOptimizedLSTM", "by linen.RNN", **COMPILED),
            Entry("nnx.SimpleCell", "rnn", "flax_layers:NnxSimple", "by nnx.RNN", **COMPILED),
            Entry(
                "nnx.GRUCell",
                "gru",
                "flax_layers:NnxGRU",
                "by nnx.RNN",
                "one bias: no b_hn, which its documentation has",
                **COMPILED,
            ),
            Entry("nnx.LSTMCell", "lstm", "flax_layers:NnxLSTM", "by nnx.RNN", **COMPILED),
            Entry("nnx.OptimizedLSTMCell", "lstm", "flax_layers:NnxOptimizedLSTM", "by nnx.RNN", **COMPILED),
        ),
        JAX,
    ),
    Package(
        "dm-haiku",
        ("dm-haiku>=0.0.17", "jax>=0.10"),
        (
            Entry(
                "GRU",
                "gru",
                "haiku_layers:GRU",
                "by dynamic_unroll",
                "one bias, reset before the product, z is 1 - z",
                **COMPILED,
            ),
            Entry(
                "LSTM", "lstm", "haiku_layers:LSTM", "by dynamic_unroll", "1 is added to the forget gate", **COMPILED
            ),
        ),
        JAX,
    ),
    Package(
        "equinox",
        ("equinox>=0.13", "jax>=0.10"),
        (
            Entry("nn.GRUCell", "gru", "equinox_layers:GRU", "vmapped and scanned", **COMPILED),
            Entry("nn.LSTMCell", "lstm", "equinox_layers:LSTM", "vmapped and scanned", **COMPILED),
        ),
        JAX,
    ),
    Package("mlx", ("mlx[cpu]>=0.32",), each("nn.{KIND}", "mlx_layers:{KIND}", "on the CPU, batch first")),
    Package(
        "tinygrad",
        ("tinygrad>=0.14",),
        (
            Entry(
                "nn.LSTMCell",
                "lstm",
                "tinygrad_layers:LSTM",
                "in a loop, forward alone",
                examples=1,
                dtypes=FLOAT32,
                asked=("forward", "layouts", "relations", "repeatability", "nonfinite"),  # in small sizes: interpreted
            ),
        ),
        {"DEV": "PYTHON"},
    ),
    Package(
        "paddlepaddle",
        ("paddlepaddle>=3.3",),
        (
            Entry("nn.SimpleRNN", "rnn", "paddle_layers:RNN", ALIVE),
            Entry("nn.GRU", "gru", "paddle_layers:GRU", ALIVE),
            Entry("nn.LSTM", "lstm", "paddle_layers:LSTM", ALIVE),
        ),
    ),
    Package("thinc", ("thinc>=9.1",), (Entry("LSTM", "lstm", "thinc_layers:LSTM", "Padded in and out, no states"),)),
    Package("opacus", ("opacus>=1.6",), each("layers.DP{KIND}", "opacus_layers:{}", "as it is")),
    Package(
        "brevitas",
        ("brevitas>=0.13",),
        each("nn.Quant{KIND}", "brevitas_layers:adapter", "every quantizer off", "rnn lstm"),
    ),
    Package(
        "torchrl", ("torchrl>=0.14",), each("modules.{KIND}", "torchrl_layers:{}", "batch_first=False", "gru lstm")
    ),
    Package(
        "ncps", ("ncps>=1",), (Entry("torch.LSTMCell", "lstm", "ncps_layers:LSTM", "1 taken off the forget bias"),)
    ),
    Package(
        "speechbrain",
        ("speechbrain>=1.1",),
        each("nnet.RNN.{KIND}", "speechbrain_layers:adapter", "relative lengths for a packed sequence"),
    ),
    Package(
        "pytorch-forecasting",
        ("pytorch-forecasting>=1.8",),
        each("{KIND}", "forecasting_layers:{KIND}", "lengths for a packed sequence", "gru lstm"),
    ),
    Package(
        "fastai",
        ("fastai>=2.8",),
        (Entry("WeightDropout of nn.LSTM", "lstm", "fastai_layers:adapter", "with a probability of 1e-300"),),
    ),
)
