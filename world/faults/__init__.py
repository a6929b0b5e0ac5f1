"""Faults of released recurrent layers, each with the smallest program that shows it.

Each program here is on its own: it imports nothing of this project, takes NumPy, `torch.nn` or finite differences as
the truth, and ends with exit code 0 where the software is right. A fault counts when its program shows it and the
documentation does not say otherwise; what the documentation says is in `DESIGNS`.
"""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
ALL = ("rnn", "gru", "lstm")
VERSION = "import importlib.metadata as m, sys; print([m.version(package) for package in sys.argv[1:]][0])"


@dataclass(frozen=True)
class Fault:
    """What is wrong with a package, and how its program fails.

    Attributes:
        program: stem of the file in this folder.
        package: its name on the package index.
        versions: in which the fault was seen.
        module: that the program imports.
        kinds: of layers that have the fault.
        wrong: one sentence.
        affects: who is affected, in one sentence.
        fails: what the program writes to stderr where the fault is there, or the name of the signal that ends it.
        silent: whether wrong numbers come without an error.
        report: its address, where the fault is publicly known.
        mended: the first version that no longer shows it, where there is one.
        beside: further packages that the program needs.
    """

    program: str
    package: str
    versions: tuple[str, ...]
    module: str
    kinds: tuple[str, ...]
    wrong: str
    affects: str
    fails: str
    silent: bool
    report: str | None = None
    mended: str | None = None
    beside: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The program's file."""
        return FOLDER / f"{self.program}.py"


@dataclass(frozen=True)
class Design:
    """What differs from `torch.nn`, and is documented: no fault."""

    package: str
    says: str
    documented: str


@dataclass(frozen=True)
class Seen:
    """What a program did: whether it failed as its fault says, the version that is installed, what it said last."""

    shown: bool
    version: str
    said: str


def shown(fault: Fault, python: str | Path = sys.executable, timeout: float = 120) -> Seen | None:
    """Run the program of a fault.

    Args:
        fault: to look for.
        python: in whose environment its package is.
        timeout: in seconds.

    Returns:
        What was seen, None where the package is not installed, or what its program needs beside.

    Raises:
        subprocess.TimeoutExpired: the program did not end.
    """
    found = subprocess.run([python, "-c", VERSION, fault.package, *fault.beside], capture_output=True, text=True)
    if found.returncode:
        return None
    run = subprocess.run([python, "-W", "ignore", fault.path], capture_output=True, text=True, timeout=timeout)
    ended = signal.Signals(-run.returncode).name if os.name == "posix" and run.returncode < 0 else ""
    written = [line for line in run.stderr.splitlines() if line.strip()]
    lines = [line for line in written if fault.fails in line] or written
    said = ended or " ".join(lines[-1:]).strip()
    return Seen(bool(run.returncode) and fault.fails in said, found.stdout.strip(), said)


SILENT = (
    Fault(
        program="jax_scan_gradient",
        package="jax",
        versions=("0.10.2",),
        module="jax",
        kinds=("gru",),
        wrong="The gradient of a scan over a vmapped GRU cell is wrong for some numbers and sizes, outside of jit as "
        "here and, where it was judged, within; with XLA's flag --xla_cpu_use_fusion_emitters=false, or with jit "
        "disabled, it is that of finite differences.",
        affects="Whoever differentiates a scan over cells on the CPU: a GRU of Equinox, Flax or one by hand, that is "
        "right itself.",
        fails="AssertionError: off by ",
        silent=True,
    ),
    Fault(
        program="torch_checkpoint_states",
        package="torch",
        versions=("2.14.1",),
        module="torch.utils.checkpoint",
        kinds=("lstm",),
        wrong="`torch.utils.checkpoint` (not reentrant) of an LSTM whose state is changed in place before the backward "
        "pass gives the gradients of another state, in silence: of tensors within a tuple it does not see the change, "
        "where it raises for those that are arguments by themselves.",
        affects="Whoever checkpoints an LSTM, or what else has tensors in a tuple or a dict, and writes the next state "
        "into the memory of the last.",
        fails="AssertionError: off by ",
        silent=True,
    ),
    Fault(
        program="speechbrain_lengths",
        package="speechbrain",
        versions=("1.1.2",),
        module="speechbrain",
        kinds=ALL,
        wrong="Relative lengths times the steps of the batch are cut off, not rounded: 13 of 22 steps become 12, and "
        "the last output is zero.",
        affects="Whoever passes lengths to an RNN, GRU or LSTM of SpeechBrain.",
        fails="AssertionError: of 22 steps in the batch, the last is lost",
        silent=True,
    ),
    Fault(
        program="paddle_gru_nan",
        package="paddlepaddle",
        versions=("3.3.1",),
        module="paddle",
        kinds=("gru",),
        wrong="With saturated gates in float32 the gradients are NaN, the output being finite and right.",
        affects="Whoever trains a GRU of eight features or more on the CPU with large weights or input.",
        fails="AssertionError: gradient: [nan",
        silent=True,
    ),
    Fault(
        program="paddle_gradients",
        package="paddlepaddle",
        versions=("3.3.1",),
        module="paddle",
        kinds=ALL,
        wrong="Gradients of the weights of the reverse direction are wrong when sequence_length and a first state "
        "other than zero are given; the output is right.",
        affects="Whoever trains a bidirectional SimpleRNN, GRU or LSTM on sequences of different lengths and gives it "
        "its first state, an encoder that goes on from another for one.",
        fails="AssertionError: SimpleRNN: ",
        silent=True,
    ),
    Fault(
        program="thinc_backward",
        package="thinc",
        versions=("8.3.14", "9.1.1"),
        module="thinc",
        kinds=("lstm",),
        wrong="The backward pass of LSTM.v1 leaves out the first step, whose input has a gradient of 0, and adds the "
        "weights themselves to their gradient.",
        affects="Whoever trains thinc.layers.LSTM on the CPU; PyTorchLSTM, which wraps torch.nn.LSTM, is right.",
        fails="AssertionError: gradient of input and of the first weight: (0.0, 1.0), not ",
        silent=True,
    ),
    Fault(
        program="flax_gru_bias",
        package="flax",
        versions=("0.12.8",),
        module="flax",
        kinds=("gru",),
        wrong="nnx.GRUCell has no b_hn, which the equations of its documentation have, and flax.linen.GRUCell too.",
        affects="Whoever brings weights from flax.linen or torch.nn to nnx.GRUCell, or expects the documented cell.",
        fails="AssertionError: 0.204824, not 0.252585",
        silent=True,
        report="https://github.com/google/flax/issues/5594",
    ),
    Fault(
        program="opacus_dropout",
        package="opacus",
        versions=("1.6.0",),
        module="opacus",
        kinds=ALL,
        wrong="Dropout acts on the output of every layer, the last too, and on the state that is fed back at every "
        "step, where its own warning says that it acts after all but the last layer.",
        affects="Whoever trains DPRNN, DPGRU or DPLSTM with dropout, as a replacement of torch.nn's.",
        fails="AssertionError: DPRNN: 0.000000, not ",
        silent=True,
    ),
    Fault(
        program="onnx_reference_ignored",
        package="onnx",
        versions=("1.23.2",),
        module="onnx",
        kinds=ALL,
        wrong="The reference evaluator ignores sequence_lens and clip of RNN, GRU and LSTM, the activations of GRU and "
        "LSTM, and input_forget, and gives numbers that are not those of the standard.",
        affects="Whoever checks a model with sequences of different lengths, or a runtime, against the reference.",
        fails="AssertionError: RNN, sequence_lens: ",
        silent=True,
    ),
    Fault(
        program="opencv_reverse",
        package="opencv-python-headless",
        versions=("5.0.0.93",),
        module="cv2",
        kinds=("gru", "lstm"),
        wrong="Of an ONNX GRU of direction reverse all outputs are wrong, of an LSTM the last states.",
        affects="Whoever runs a layer in reverse, without its forward half; bidirectional layers are right.",
        fails="AssertionError: reverse, and forward of the reversed: ",
        silent=True,
        beside=("onnx",),
    ),
    Fault(
        program="opencv_clip",
        package="opencv-python-headless",
        versions=("5.0.0.93",),
        module="cv2",
        kinds=("gru", "lstm"),
        wrong="An ONNX GRU or LSTM ignores clip; so does a GRU, and an LSTM with first states, sequence_lens, and an "
        "LSTM input_forget.",
        affects="Whoever runs a model that has one of them; activations that are not supported are refused.",
        fails="AssertionError: {'GRU': ",
        silent=True,
        beside=("onnx",),
    ),
    Fault(
        program="opencv_peepholes",
        package="opencv-python-headless",
        versions=("5.0.0.93",),
        module="cv2",
        kinds=("lstm",),
        wrong="An ONNX LSTM takes the peepholes of the output gate for those of the forget gate, and these for those.",
        affects="Whoever runs an LSTM with peepholes.",
        fails="AssertionError: Y_h: ",
        silent=True,
        report="https://github.com/opencv/opencv/pull/29931",
        beside=("onnx",),
    ),
    Fault(
        program="tract_ignored",
        package="tract",
        versions=("0.23.9",),
        module="tract",
        kinds=ALL,
        wrong="The activations and clip of an ONNX RNN, GRU or LSTM, and input_forget, are ignored: an RNN with Relu "
        "is computed with Tanh.",
        affects="Whoever runs an exported nn.RNN with relu, or any layer with other than the default activations.",
        fails="AssertionError: Relu, clip: ",
        silent=True,
        report="https://github.com/sonos/tract/issues/2751",
        beside=("onnx",),
    ),
    Fault(
        program="tract_reverse",
        package="tract",
        versions=("0.23.9",),
        module="tract",
        kinds=ALL,
        wrong="An ONNX RNN, GRU or LSTM of direction reverse is computed forward.",
        affects="Whoever runs a layer in reverse, without its forward half; bidirectional layers are right.",
        fails="AssertionError: RNN: ",
        silent=True,
        beside=("onnx",),
    ),
    Fault(
        program="openvino_ignored",
        package="openvino",
        versions=("2026.4.1",),
        module="openvino",
        kinds=("lstm",),
        wrong="An ONNX LSTM ignores its peepholes P, and input_forget.",
        affects="Whoever runs an LSTM with peepholes, or with coupled gates; activations it has not are refused.",
        fails="AssertionError: P, input_forget: ",
        silent=True,
        beside=("onnx",),
    ),
    Fault(
        program="onnxruntime_threshold",
        package="onnxruntime",
        versions=("1.32.0",),
        module="onnxruntime",
        kinds=ALL,
        wrong="RNN, GRU and LSTM take 0 for the default alpha of ThresholdedRelu; in the standard it is 1, that of the "
        "operator.",
        affects="Whoever runs a layer with ThresholdedRelu and without activation_alpha.",
        fails="AssertionError: RNN with ThresholdedRelu: ",
        silent=True,
        beside=("onnx",),
    ),
    Fault(
        program="onnxruntime_nan_gates",
        package="onnxruntime",
        versions=("1.32.0",),
        module="onnxruntime",
        kinds=("gru", "lstm"),
        wrong="GRU and LSTM with a bias turn NaN in the input into finite numbers; without a bias it stays.",
        affects="Whoever relies on NaN in the output to learn that the input was broken.",
        fails="AssertionError: GRU, bias = True: ",
        silent=True,
        beside=("onnx",),
    ),
    Fault(
        program="onnxruntime_nan_relu",
        package="onnxruntime",
        versions=("1.32.0",),
        module="onnxruntime",
        kinds=("rnn",),
        wrong="RNN with the activation Relu gives 0 for NaN, where the operator Relu gives NaN.",
        affects="Whoever runs an RNN with relu and relies on NaN in the output.",
        fails="AssertionError: RNN with Relu: 0.000000, not nan",
        silent=True,
        beside=("onnx",),
    ),
    Fault(
        program="paddle_padding",
        package="paddlepaddle",
        versions=("3.3.1",),
        module="paddle",
        kinds=ALL,
        wrong="NaN in the padding reaches the states of a sequence that has ended, its output and its gradients: the "
        "padding is multiplied by 0, not left out.",
        affects="Whoever fills what lies past a sequence's end with NaN.",
        fails="AssertionError: SimpleRNN: nan, not ",
        silent=True,
    ),
    Fault(
        program="mlx_float64",
        package="mlx",
        versions=("0.32.4",),
        module="mlx",
        kinds=("gru", "lstm"),
        wrong="On the CPU sigmoid, and exp, of float64 have the digits of float32, and so have the gates.",
        affects="Whoever computes a GRU or an LSTM in float64 for its digits, in a gradient check for one.",
        fails="AssertionError: GRU: ",
        silent=True,
        report="https://github.com/ml-explore/mlx/issues/3047",
    ),
    Fault(
        program="keras_torch_float64",
        package="keras",
        versions=("3.15.1",),
        module="keras",
        kinds=ALL,
        wrong="With torch as the backend products of float64 are computed in float32, while the output is said to be "
        "float64; GRU and LSTM are right with the options that let the backend compute the whole layer.",
        affects="Whoever runs SimpleRNN, any of the cells, or GRU and LSTM with other options in float64 on torch.",
        fails="AssertionError: SimpleRNN: ",
        silent=True,
        report="https://github.com/keras-team/keras/issues/23704",
    ),
    Fault(
        program="brevitas_float64_bias",
        package="brevitas",
        versions=("0.13.4",),
        module="brevitas",
        kinds=("rnn", "lstm"),
        wrong="load_state_dict adds the two biases of torch.nn's layers in float32, whatever the layer's dtype.",
        affects="Whoever loads float64 weights of torch.nn into QuantRNN or QuantLSTM.",
        fails="AssertionError: ",
        silent=True,
    ),
    Fault(
        program="opacus_packed_float64",
        package="opacus",
        versions=("1.6.0",),
        module="opacus",
        kinds=ALL,
        wrong="With packed input of float64 h_n and c_n are rounded to float32.",
        affects="Whoever takes the states of a DPRNN, DPGRU or DPLSTM of packed float64 sequences.",
        fails="AssertionError: DPRNN: ",
        silent=True,
    ),
    Fault(
        program="torchrl_projection",
        package="torchrl",
        versions=("0.14.1",),
        module="torchrl",
        kinds=("lstm",),
        wrong="LSTM takes proj_size, makes the weights of the projection and never applies them: an output of one step "
        "has hidden_size features, and with more steps an error of shapes is raised.",
        affects="Whoever gives proj_size to torchrl.modules.LSTM, which is said to behave exactly like torch.nn.LSTM.",
        fails="AssertionError: features of the output: 4, not 2",
        silent=True,
    ),
)

LOUD = (
    Fault(
        program="paddle_no_bias",
        package="paddlepaddle",
        versions=("3.3.1",),
        module="paddle",
        kinds=ALL,
        wrong="Without biases (bias_ih_attr=False, bias_hh_attr=False) the first call ends the process.",
        affects="Whoever makes a SimpleRNN, GRU or LSTM without biases.",
        fails="SIGSEGV",
        silent=False,
        report="https://github.com/PaddlePaddle/Paddle/issues/70231",
    ),
    Fault(
        program="paddle_eval",
        package="paddlepaddle",
        versions=("3.3.1",),
        module="paddle",
        kinds=ALL,
        wrong="After eval() the backward pass raises: what it needs is kept in training only.",
        affects="Whoever asks for gradients of a model in eval mode: of its input, or with other layers' dropout off.",
        fails="RuntimeError: (PreconditionNotMet) Tensor holds no memory",
        silent=False,
    ),
    Fault(
        program="brevitas_state",
        package="brevitas",
        versions=("0.13.4",),
        module="brevitas",
        kinds=("rnn", "lstm"),
        wrong="The first state of layer l is taken from row 2 l, in one direction too, and that is past its end.",
        affects="Whoever gives a first state to a stacked one-way QuantRNN or QuantLSTM.",
        fails="IndexError: index 2 is out of bounds for dimension 0 with size 2",
        silent=False,
    ),
    Fault(
        program="brevitas_eleven_layers",
        package="brevitas",
        versions=("0.13.4",),
        module="brevitas",
        kinds=("rnn", "lstm"),
        wrong="load_state_dict looks for the layer's name anywhere in a parameter's, and finds _l1 in _l10.",
        affects="Whoever loads more than ten layers of torch.nn into QuantRNN or QuantLSTM.",
        fails="KeyError: 'weight_ih_l10'",
        silent=False,
    ),
    Fault(
        program="torch_quantizable_stacked",
        package="torch",
        versions=("2.11.0", "2.14.1", "2.15.0"),
        module="torch.ao.nn.quantizable",
        kinds=("lstm",),
        wrong="The second layer of two directions is made for hidden_size features, and gets twice as many.",
        affects="Whoever makes a stacked bidirectional torch.ao.nn.quantizable.LSTM; from_float gives one that runs.",
        fails="mat1 and mat2 shapes cannot be multiplied",
        silent=False,
        report="https://github.com/pytorch/pytorch/issues/89357",
    ),
    Fault(
        program="torch_quantizable_float64",
        package="torch",
        versions=("2.11.0", "2.14.1", "2.15.0"),
        module="torch.ao.nn.quantizable",
        kinds=("lstm",),
        wrong="Where no state is given it makes one of float32, whatever its dtype.",
        affects="Whoever calls a float64 torch.ao.nn.quantizable.LSTM without a first state.",
        fails="RuntimeError: mat1 and mat2 must have the same dtype",
        silent=False,
    ),
    Fault(
        program="keras_jax_float64",
        package="keras",
        versions=("3.15.1",),
        module="keras",
        kinds=("rnn",),
        wrong="A SimpleRNN of float64 computes its state in float32, and raises: JAX's scan takes no state that "
        "changes its dtype. GRU goes through, and is right to seven digits alone.",
        affects="Whoever gives SimpleRNN dtype float64 on the JAX backend, with JAX's 64 bits enabled.",
        fails="scan body function carry input and carry output must have equal types",
        silent=False,
        beside=("jax",),
    ),
    Fault(
        program="onnx_reference_relu",
        package="onnx",
        versions=("1.23.2",),
        module="onnx",
        kinds=("rnn",),
        wrong="The reference evaluator has no Relu for RNN, nor any activation but Tanh and Affine; the standard has.",
        affects="Whoever checks an exported RNN with relu against the reference.",
        fails="RuntimeError: Unknown activation function 'Relu'.",
        silent=False,
    ),
    Fault(
        program="opencv_no_bias",
        package="opencv-python-headless",
        versions=("5.0.0.93",),
        module="cv2",
        kinds=("lstm",),
        wrong="An ONNX LSTM with first states and without B, which is optional, cannot be read.",
        affects="Whoever exports an LSTM without biases that is given its first states.",
        fails="cv2.error: ",
        silent=False,
        beside=("onnx",),
    ),
)

FAULTS = SILENT + LOUD

DESIGNS = (
    Design(
        package="flax",
        says="nnx.SimpleCell computes in float32 unless it is given dtype, whatever its parameters and its input; the "
        "other cells follow those.",
        documented="in the signature, dtype=float32; nnx.GRUCell and nnx.LSTMCell have dtype=None",
    ),
    Design(
        package="thinc",
        says="Dropout of LSTM.v1 acts on its weights, not on what goes from layer to layer.",
        documented="in a comment of thinc/layers/lstm.py",
    ),
    Design(
        package="torch",
        says="torch.ao.nn.quantizable.LSTM ignores dropout.",
        documented="in a warning when it is made",
    ),
)
