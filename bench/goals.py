"""How fast and how small the layers are to be: the most that they may take, as a multiple of the built-in."""

from typing import NamedTuple

from rnn_parity.bench.arms import KINDS, SHAPES, STREAM, Setting

SMALL, MIDDLE = SHAPES[1], SHAPES[2]

# Of the fused layer: forward without gradients, and training. The interval's upper end counts.
AT_EACH_SHAPE = {
    "RNN": [(0.20, 0.20), (0.28, 0.28), (0.40, 0.48), (0.45, 0.50), (0.60, 0.53)],
    "GRU": [(0.15, 0.12), (0.25, 0.22), (0.38, 0.38), (0.42, 0.46), (0.58, 0.50)],
    "LSTM": [(0.35, 0.48), (0.48, 0.63), (0.60, 0.70), (0.70, 0.80), (0.82, 0.82)],
}
FUSED: dict[str, tuple[float, float]] = {  # by what a setting is called
    **{f"{kind} {shape}": goal for kind in KINDS for shape, goal in zip(SHAPES, AT_EACH_SHAPE[kind], strict=True)},
    f"bidirectional RNN {MIDDLE}": (0.45, 0.50),
    f"bidirectional GRU {MIDDLE}": (0.45, 0.45),
    f"bidirectional LSTM {MIDDLE}": (0.60, 0.65),
    f"2-layer bidirectional LSTM {MIDDLE}": (0.60, 0.60),
    **{f"{kind} float64 {SMALL}": (0.60, 0.60) for kind in KINDS},
    **{f"{kind} packed {SMALL}": (0.50, 0.40) for kind in KINDS},
    f"LSTM projection 32 {SMALL}": (0.60, 0.60),
    f"LSTM bfloat16 {SMALL}": (1.00, 1.00),
    **{f"{kind} {STREAM}": (0.50, 0.50) for kind in KINDS},
}
# Of the Triton kernels on CUDA, as a part of cuDNN's time.
PACKED_ON_CUDA = {"RNN": 0.7, "GRU": 0.5, "LSTM": 0.5}
BOTH_ON_CUDA = 0.8  # in both directions
PADDED_ON_CUDA = {"GRU": 1.0, "LSTM": 1.0}
MOST_ON_CUDA = 128  # to that hidden size
MANUAL = {"RNN": 1.3, "GRU": 1.2, "LSTM": 2.5}  # training, one layer in float32
MANUAL_FROM = 64 * 64  # the manual layers' goals hold from this batch times hidden size upward
MEMORY = 1.0  # of the fused layer: peak of a training step, and bytes for each further step
FLAT = 1.10  # of the fused layer: time per step of the longest sequence over that of the shortest
EPOCH = 0.85  # of the fused layer: training on MNIST


class Outcome(NamedTuple):
    """A goal, and what was measured of it."""

    what: str
    goal: float
    measured: float

    @property
    def met(self) -> bool:
        """Whether the measured multiple is within the goal."""
        return self.measured <= self.goal

    def __str__(self) -> str:
        return f"{self.goal:.2f} {'met' if self.met else 'missed'}"


def time_goal(arm: str, setting: Setting, step: str, device: str) -> float | None:
    """Return the goal of an arm's time over the built-in's; None where there is none."""
    if device != "cpu":
        return on_cuda(setting) if arm == "triton" else None
    if arm == "fused" and str(setting) in FUSED:
        return FUSED[str(setting)][step == "training"]
    large = setting.shape in SHAPES and setting.shape.B * setting.shape.H >= MANUAL_FROM
    return MANUAL.get(setting.name) if arm == "manual" and step == "training" and large else None


def on_cuda(setting: Setting) -> float | None:
    """Return the goal of the Triton kernels' time over cuDNN's; None where there is none."""
    if setting.num_layers > 1 or setting.proj_size or setting.dtype == "float64":
        return None
    if setting.packed:
        return PACKED_ON_CUDA[setting.kind]
    if setting.bidirectional:
        return BOTH_ON_CUDA
    return PADDED_ON_CUDA.get(setting.kind) if setting.shape.H <= MOST_ON_CUDA else None
