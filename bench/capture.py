"""Run the commands that README and docs show, and keep what they print in `bench/results`.

    python -m rnn_parity.bench.capture judge verdicts    # some minutes
    python -m rnn_parity.bench.capture parity test       # as long as tox takes

from the project's root. `judge`, `parity` and `test` go into DATE-commands.json, beside what was captured of the others
before; `verdicts` judges right and wrong GRUs into DATE-verdicts-cpu.json, which the README's picture is drawn from.
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from rnn_parity.bench.committed import RESULTS, MissingResults, read
from rnn_parity.bench.figures import code_with, excerpt
from rnn_parity.tests.meta.defects import PLANTED

# What is run, and which of its lines are kept, see `figures.excerpt`.
COMMANDS = {
    "judge": ("rnn-parity judge gru=my_layers:MyGRU", "test_forward[+40 / = parity =+20 / -1"),
    "parity": ("tox -e parity", "-60"),
    "test": ("tox", "-20"),
}
RIGHT = ("torch.nn:GRU", "rnn_parity.manual:GRU", "rnn_parity.manual.fused:GRU")
WRONG = (
    "given state ignored",
    "reset before the product",
    "reverse output not flipped",
    "gradient of weight_hh off by a percent",
    "dropout not rescaled",
)
EXAMPLES = "20"


def captured(name: str, root: Path) -> dict[str, Any]:
    """Run one of `COMMANDS` and return what it printed; the one that judges, beside the layer the page shows."""
    command, picked = COMMANDS[name]
    with tempfile.TemporaryDirectory() as empty:
        folder = root
        if name == "judge":
            folder = Path(empty)
            (folder / "my_layers.py").write_text(code_with("class MyGRU", root / "docs" / "judging.md"))
        done = run(command.split(), folder)
    lines = excerpt(done.stdout.replace(str(folder), ".").splitlines(), picked)
    return {"command": command, "status": done.returncode, "date": today(), "lines": lines}


def run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as in a terminal without colours, what it says on standard error among the rest."""
    plain = os.environ | {"NO_COLOR": "1", "PY_COLORS": "0", "COLUMNS": "80", "MPLBACKEND": "agg"}
    return subprocess.run(
        command, cwd=folder, env=plain, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )


def judge_right_and_wrong(path: Path) -> None:
    """Write the verdicts on some right and some wrong GRUs, with fewer cases than by default."""
    wrong = [PLANTED[defect, "gru"] for defect in WRONG]
    layers = [*RIGHT, *(f"{layer.__module__}:{layer.__name__}" for layer in wrong)]
    command = ["pytest", "--pyargs", "rnn_parity.tests.conformance", "-q", "--parity-device", "cpu"]
    command += ["--parity-examples", EXAMPLES, "--parity-json", "verdicts.json"]
    command += [part for layer in layers for part in ("--parity-implementation", f"gru={layer}")]
    with tempfile.TemporaryDirectory() as empty:
        done = run([sys.executable, "-m", *command], Path(empty))
        judged = json.loads(Path(empty, "verdicts.json").read_text())
    path.write_text(json.dumps(without_messages(judged), indent=1) + "\n")
    print(done.stdout.splitlines()[-1])


def without_messages(judged: dict[str, Any]) -> dict[str, Any]:
    """Keep of the JSON of a run what a picture shows: the reproducers are most of it."""
    kept = ("implementation", "kind", "device", "dtype", "cases", "verdict", "aspects", "worst")
    verdicts = [{name: verdict[name] for name in kept} for verdict in judged["verdicts"]]
    return {"header": judged["header"], "verdicts": verdicts}


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is named, write the results."""
    parser = argparse.ArgumentParser(
        prog="rnn_parity.bench.capture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", choices=[*COMMANDS, "verdicts"], metavar="NAME")
    root, found = Path.cwd(), dict[str, Any]()
    for name in parser.parse_args(arguments).names:
        if name == "verdicts":
            judge_right_and_wrong(root / RESULTS / f"{today()}-verdicts-cpu.json")
            continue
        with contextlib.suppress(MissingResults):
            found |= read("commands", root)["commands"]
        found[name] = captured(name, root)
        versions = {"torch": torch.__version__, "python": platform.python_version()}
        path = root / RESULTS / f"{today()}-commands.json"
        path.write_text(json.dumps({"versions": versions, "commands": found}, indent=1) + "\n")
        print("\n".join(found[name]["lines"][-10:]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
