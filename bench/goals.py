"""How fast and how small the layers are to be: the most that they may take, as a multiple of the built-in."""

from typing import NamedTuple

from rnn_parity.bench.arms import SHAPES, Setting

# (arm, layer) -> forward, training; a layer is named by what sets it apart. The interval's upper end counts.
TIME: dict[tuple[str, str], tuple[float | None, float | None]] = {
    ("fused", "RNN"): (0.75, 0.60),
    ("fused", "GRU"): (0.90, 0.65),
    ("fused", "LSTM"): (1.10, 1.00),
    ("fused", "bidirectional RNN"): (0.70, 0.60),
    ("fused", "bidirectional GRU"): (0.70, 0.60),
    ("fused", "2-layer bidirectional LSTM"): (1.10, 1.00),
    **{
        ("fused", f"{kind} {option}"): (0.90, 0.70)
        for kind in ("RNN", "GRU", "LSTM")
        for option in ("float64", "packed")
    },
    ("manual", "RNN"): (None, 1.8),
    ("manual", "GRU"): (None, 1.6),
    ("manual", "LSTM"): (None, 3.5),
}
MANUAL_FROM = 64 * 64  # the manual layers' goals hold from this batch times hidden size upward
MEMORY = 1.3  # of the fused layer: peak of a training step, and bytes for each further step
FLAT = 1.10  # of the fused layer: time per step of the longest sequence over that of the shortest


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
    too_small = arm == "manual" and setting.shape.B * setting.shape.H < MANUAL_FROM
    if device != "cpu" or too_small or setting.shape not in SHAPES:
        return None
    return TIME.get((arm, setting.name), (None, None))[step == "training"]
