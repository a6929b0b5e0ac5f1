"""What the judge says of head, and of base where something fails at head."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from rnn_parity.bench.gate.plan import Layer
from rnn_parity.bench.gate.sides import Side, last_line
from rnn_parity.bench.gate.workplace import GateError, Workplace, environment

EXAMPLES = 4
PASSED = "passed"
WRONG = ("failed", "error")

Verdicts = dict[Layer, dict[str, str]]  # by layer and aspect: passed, failed, error or unsupported


def judged(place: Workplace, side: Side, layers: Sequence[Layer]) -> Verdicts:
    """Judge layers in float64, each in a process of its own, as many at once as there are cores."""
    return dict(zip(layers, place.each(lambda layer: _judged(place, side, layer), layers), strict=True))


def _judged(place: Workplace, side: Side, layer: Layer) -> dict[str, str]:
    found = place.folder / f"{side.name}-{layer.kind}-{layer.location.replace(':', '-')}.json"
    pytest = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
        "--pyargs",
        "rnn_parity.tests.conformance",
    ]
    asked = ["--parity-implementation", str(layer), "--parity-dtype", "float64", "--parity-device", "cpu"]
    options = [*asked, "--parity-examples", str(EXAMPLES), "--parity-json", str(found)]
    environ = environment(side.paths, 1) | {"HYPOTHESIS_STORAGE_DIRECTORY": str(place.folder / "hypothesis")}
    ended = place.run([sys.executable, *pytest, *options], environ)
    if ended.returncode not in (0, 1) or not found.exists():
        raise GateError(f"{side} could not be judged: {last_line(ended.stdout)}")
    (verdict,) = json.loads(found.read_text())["verdicts"]
    aspects: dict[str, str] = verdict["aspects"]
    return aspects


def lost(base: Verdicts, head: Verdicts) -> list[str]:
    """Return what passed at base and is wrong at head, a line for each layer."""
    lines = []
    for layer, aspects in head.items():
        failed = [a for a, result in aspects.items() if result in WRONG and base.get(layer, {}).get(a) == PASSED]
        if failed:
            lines.append(f"{layer} fails {', '.join(failed)}, which passed at base")
    return lines


def wrong(verdicts: Verdicts) -> list[Layer]:
    """Return the layers in which something is wrong."""
    return [layer for layer, aspects in verdicts.items() if any(result in WRONG for result in aspects.values())]
