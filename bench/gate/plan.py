"""What a gate measures: layers, each in two steps, over a few shapes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

from rnn_parity.bench.arms import KINDS, STEPS, Shape

# Each with the rounds that it gets.
SHAPES = ((Shape(10, 30, 5, 8), 7), (Shape(64, 28, 28, 64), 5), (Shape(32, 35, 28, 256), 5))
QUICK_SHAPES = SHAPES[:2]


class Layer(NamedTuple):
    """A layer by its kind ("rnn", "gru" or "lstm") and its MODULE:ATTRIBUTE."""

    kind: str
    location: str

    def __str__(self) -> str:
        return f"{self.kind}={self.location}"


# What this project ships, and is judged where no layer is named.
OURS = tuple(
    Layer(kind.lower(), f"{module}:{kind}")
    for module, kind in product(("rnn_parity.manual", "rnn_parity.manual.fused"), KINDS)
)


class Aggregate(NamedTuple):
    """What one answer is given about: a layer in a step ("forward" or "training"), over all shapes."""

    layer: Layer
    step: str

    def __str__(self) -> str:
        return f"{self.layer} {self.step}"


@dataclass(frozen=True)
class Plan:
    """What each process measures.

    Args:
        aggregates: what there is to answer.
        shapes: measured for each, with the rounds of the layer and the built-in in turn; their geometric mean counts.
        device: "cpu" or "cuda".
        threads: of PyTorch.
    """

    aggregates: Sequence[Aggregate]
    shapes: Sequence[tuple[Shape, int]] = SHAPES
    device: str = "cpu"
    threads: int = 1

    def write(self, path: Path) -> None:
        """Write it for a process to read."""
        path.write_text(json.dumps(asdict(self)))

    @staticmethod
    def read(path: Path) -> Plan:
        """Read what `write` wrote."""
        fields = json.loads(path.read_text())
        fields["aggregates"] = tuple(Aggregate(Layer(*layer), step) for layer, step in fields["aggregates"])
        fields["shapes"] = tuple((Shape(*shape), rounds) for shape, rounds in fields["shapes"])
        return Plan(**fields)


def aggregates_of(layers: Sequence[Layer]) -> tuple[Aggregate, ...]:
    """Return each layer in each step."""
    return tuple(Aggregate(layer, step) for layer, step in product(layers, STEPS))
