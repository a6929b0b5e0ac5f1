"""Judge the recurrent layers that people ship.

    python -m rnn_parity.world                          # all of them: an hour of two cores, and 6 GB
    python -m rnn_parity.world keras flax               # those of some packages
    python -m rnn_parity.world --envs FOLDER            # keep the environments there, and use those that are there

Each package has an environment of its own, made by uv. What the judge says of each layer is in --out, a file each;
`python -m rnn_parity.world.page FOLDER` makes the page of it. Then the programs of the package's known faults are run,
and it is said of each whether it still shows. A package that cannot be installed is said, and left out.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rnn_parity.world.environments import NotInstalled, environment
from rnn_parity.world.faults import FAULTS, VERSION, shown
from rnn_parity.world.results import record
from rnn_parity.world.roster import PACKAGES, Entry, Package

EXAMPLES = 3
LIMIT = 900  # seconds for a layer


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what was asked for; uv must be there."""
    parser = argparse.ArgumentParser(
        prog="python -m rnn_parity.world", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [package.called for package in PACKAGES]
    parser.add_argument("package", nargs="*", help=", ".join(names))
    parser.add_argument("--out", type=Path, default=Path("state"), metavar="FOLDER", help="for the results; state")
    parser.add_argument("--examples", type=int, default=EXAMPLES, metavar="N", help=f"cases of each trial; {EXAMPLES}")
    parser.add_argument("--envs", type=Path, metavar="FOLDER", help="keep the environments there")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="packages judged at a time; 2")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.package) - set(names):
        parser.error(f"expected packages among {', '.join(names)}, got {', '.join(sorted(unknown))}")
    if shutil.which("uv") is None:
        parser.error("expected uv, which makes the environments, on the path: pip install uv")
    return chosen


def main() -> int:
    """Judge what was asked for; 1 where a package could not be installed."""
    chosen = options()
    chosen.out.mkdir(parents=True, exist_ok=True)
    packages = [package for package in PACKAGES if package.called in chosen.package or not chosen.package]
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(chosen.processes) as pool:
        envs = chosen.envs or Path(scratch)
        installed = list(pool.map(lambda package: examine(package, envs, chosen.out, chosen.examples), packages))
    return 0 if all(installed) else 1


def examine(package: Package, envs: Path, out: Path, examples: int) -> bool:
    """Judge the layers of a package, and write a file of each; whether it could be installed."""
    try:
        python = environment(package.called, package.requirements, envs)
    except NotInstalled as error:
        print(f"{package.called}: not installed: {error}", flush=True)
        return False
    version = subprocess.run([python, "-c", VERSION, package.name], check=True, capture_output=True, text=True)
    for entry in package.entries:
        start = time.monotonic()
        report = judge(entry, python, {**os.environ, **package.variables}, out, examples)
        seconds = round(time.monotonic() - start)
        found = record(package, entry, version.stdout.strip(), report, seconds)
        (out / f"{found['id']}.json").write_text(json.dumps(found, indent=1) + "\n")
        words = {word: [a for a, of in found["aspects"].items() if of["word"] == word] for word in ("fails", "differs")}
        said = "; ".join(f"{word}: {', '.join(aspects)}" for word, aspects in words.items() if aspects)
        print(f"{package.called} {entry.name}, {seconds} s: {said or 'holds'}", flush=True)
    for fault in FAULTS:
        seen = shown(fault, python) if fault.package == package.name else None
        if seen is not None:
            still = "shows" if seen.shown else "no longer shows"
            print(f"{package.called} {seen.version}, {fault.program}: {still}: {seen.said}", flush=True)
    return True


def judge(entry: Entry, python: Path, environ: dict[str, str], out: Path, examples: int) -> dict[str, Any] | None:
    """Run the conformance tests on a layer; return the report, None where there is none."""
    command: list[str | Path] = [python, "-P", "-m", "pytest", "--pyargs", "rnn_parity.tests.conformance", "-q"]
    command += ["--tb=no", "--no-header", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "no:benchmark"]
    command += ["--parity-implementation", f"{entry.kind}={entry.location}", "--parity-device", "cpu"]
    command += [part for dtype in entry.dtypes for part in ("--parity-dtype", dtype)]
    command += ["--parity-timeout", str(LIMIT)]  # what compiles for every shape is not wrong
    command += ["--parity-examples", str(min(examples, entry.examples or examples))]
    command += ["-k", " or ".join(f"test_{aspect}" for aspect in entry.asked)] if entry.asked else []
    with tempfile.TemporaryDirectory() as scratch:
        verdicts = Path(scratch, "verdicts.json")
        environ |= {"OMP_NUM_THREADS": "1", "HYPOTHESIS_STORAGE_DIRECTORY": scratch}
        try:
            run = subprocess.run(
                [*command, "--parity-json", verdicts], cwd=scratch, env=environ, timeout=LIMIT, capture_output=True
            )
        except subprocess.TimeoutExpired:
            print(f"{entry.location}: not done after {LIMIT} s", flush=True)
            return None
        (out / f"{entry.client.replace(':', '-')}-{entry.kind}.log").write_bytes(run.stdout + run.stderr)
        return json.loads(verdicts.read_text()) if verdicts.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
