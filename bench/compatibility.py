"""Ask what can be done with the layers beside calling them: transform, compile, export, copy, cast.

    python -m rnn_parity.bench.compatibility    # from the project's root; some minutes

writes bench/results/DATE-compatibility.json, of which docs/compatibility.md shows the tables. What is asked is in
`tests/unit/surface.py`. ONNX is asked of where onnx, onnxscript and onnxruntime are installed, CUDA where a GPU is.
Exits with 1 where anything fails that is not known to.
"""

import json
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

from rnn_parity.bench.committed import RESULTS
from rnn_parity.tests.unit.surface import CORNERS, KINDS, LAYERS, Case, Unavailable, outcome


def answer(title: str, layers: str, kind: str) -> str:
    """Return "yes", "no: why" where that is known, "not asked: why" or "fails: how"."""
    try:
        return outcome(title, Case(layers, kind))
    except Unavailable as missing:
        return f"not asked: {missing}"
    except Exception as error:  # whatever a layer raises is the answer
        return f"fails: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def versions() -> dict[str, str]:
    """Return what was asked of, and with what."""
    found = {"torch": torch.__version__, "Python": platform.python_version()}
    return found | {name: version(name) for name in ("onnx", "onnxruntime") if find_spec(name) is not None}


def main() -> int:
    """Ask every corner of every layer, write the results; 1 where something fails."""
    corners, failed = [], 0
    for title, (group, _) in CORNERS.items():
        found = {layers: {kind: answer(title, layers, kind) for kind in KINDS} for layers in LAYERS}
        corners.append({"title": title, "group": group, "layers": found})
        print(title, found, flush=True)
        failed += sum(said.startswith("fails") for of_layers in found.values() for said in of_layers.values())
    path = Path(RESULTS, f"{datetime.now(UTC).date().isoformat()}-compatibility.json")
    path.write_text(json.dumps({"versions": versions(), "corners": corners}, indent=1) + "\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
