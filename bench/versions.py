"""Run the unit tests and a short conformance on every PyTorch that the project allows, and write docs/versions.md.

    python bench/versions.py                       # every version; results in bench/results/DATE-versions.json
    python bench/versions.py --only 2.15 lowest    # some; of the others the last results stay
    python bench/versions.py --page                # the page alone, from the last results
    python bench/versions.py --check               # whether the page is what the last results say

Each version has an environment of its own, made by uv and removed after its run: PyTorch and what it brings take 5 GB.
With `--environments FOLDER` they stay in there, and one that is there is brought up to date. All have the newest of
everything else, but "lowest": there all that the project asks for is the oldest it allows.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

TORCH = ("2.11", "2.12", "2.13", "2.14", "2.15")
NAMES = ("lowest", *TORCH)
SHOWN = ("torch", "torchvision", "python", "numpy", "scipy", "pytest", "hypothesis")

TOOLS = ("beartype>=0.18", "pytest-timeout>=2.3", "pytest-xdist>=3.6")  # as in tox.ini
TESTS = {
    "unit": ("rnn_parity.tests.layers", "rnn_parity.tests.unit", "rnn_parity.tests.test_parity"),
    "conformance": (
        "rnn_parity.tests.conformance",
        *("--parity-interface", "--parity-device=cpu", "--parity-dtype=float64", "--parity-examples=4"),
    ),
}

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "versions.md"

INTRODUCTION = f"""\
PyTorch {TORCH[0]} to {TORCH[-1]}, Python 3.11 and newer. Each line is an environment of its own, in which the unit
tests and a short conformance of the layers by hand ran with warnings as errors. In `lowest` everything that the project
asks for is the oldest it allows, in the others the newest there was."""

PROBE = """
import json, platform, sys
from importlib.metadata import version
names = sys.argv[1:]
print(json.dumps({name: platform.python_version() if name == "python" else version(name) for name in names}))
"""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="VERSION", help=", ".join(NAMES))
    parser.add_argument("--environments", type=Path, metavar="FOLDER", help="keep them there; default: remove each")
    parser.add_argument("--page", action="store_true", help="write the page, run nothing")
    parser.add_argument("--check", action="store_true", help="fail where the page is not up to date, run nothing")
    chosen = parser.parse_args()
    if not (chosen.page or chosen.check) and shutil.which("uv") is None:
        parser.error("expected uv, which makes the environments, on the path: pip install uv")
    return chosen


def main() -> int:
    """Do what was asked for; return 1 where anything failed."""
    chosen, results = options(), last_results()
    if chosen.check:
        current = (PAGE.read_text() if PAGE.is_file() else "") == (page(results) if results else "")
        print(f"{PAGE.relative_to(ROOT)}: {'up to date' if current else 'expected python bench/versions.py --page'}")
        return 0 if current else 1
    if not chosen.page:
        with tempfile.TemporaryDirectory() as scratch:
            uv("build", "--quiet", "--out-dir", scratch, ROOT)  # by way of an archive: nothing left over gets in
            (wheel,) = Path(scratch).glob("*.whl")
            for name in chosen.only:
                results[name] = examine(name, wheel, chosen.environments)
                kept = {name: results[name] for name in NAMES if name in results}
                (RESULTS / f"{date.today()}-versions.json").write_text(json.dumps(kept, indent=1) + "\n")
    PAGE.write_text(page(results))
    print("\n".join(table(results)))
    return 1 if any(failures(result) for result in results.values()) else 0


def examine(name: str, wheel: Path, environments: Path | None) -> dict[str, Any]:
    """Run the tests on one version.

    Args:
        name: of `NAMES`.
        wheel: the project.
        environments: the folder that keeps the environments, None for one that is removed.

    Returns:
        versions by name; of unit and conformance tests the numbers of passed, failed and skipped ones, the names of
        those that failed, and the seconds.
    """
    print(f"{name}: installing", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = environments.resolve() / name if environments else Path(scratch) / name
        python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        if not python.exists():
            uv("venv", "--quiet", "--python", sys.executable, folder)
        install(name, wheel, python)
        probed = subprocess.run([python, "-c", PROBE, *SHOWN], check=True, capture_output=True, text=True)
        result: dict[str, Any] = {"versions": json.loads(probed.stdout)}
        for tests, arguments in TESTS.items():
            print(f"{name}: {tests} tests", flush=True)
            result[tests] = run(python, arguments, Path(scratch) / "junit.xml")
    return result


def install(name: str, wheel: Path, python: Path) -> None:
    """Install the project with all its extras."""
    oldest = name == "lowest"
    wanted = [f"rnn-parity[all] @ {wheel.as_uri()}", f"torch=={TORCH[0] if oldest else name}.*", *TOOLS]
    how = ["--resolution", "lowest-direct" if oldest else "highest", "--reinstall-package", "rnn-parity", "--upgrade"]
    if oldest:  # what the wheel asks for is not direct, unless it is named here
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        wanted += project["dependencies"]
        wanted += [each for part in ("tasks", "bench") for each in project["optional-dependencies"][part]]
    uv("pip", "install", "--quiet", "--python", python, *how, *wanted)


def run(python: Path, arguments: Sequence[str], junit: Path) -> dict[str, Any]:
    """Run tests from the project's root, whose pyproject.toml makes errors of warnings, and count."""
    start = time.monotonic()
    command: list[str | Path] = [
        python,
        "-P",
        "-m",
        "pytest",
        "--pyargs",
        *arguments,
        "-q",
        "-n",
        "2",
        "--timeout",
        "1800",
    ]
    environment = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", **os.environ}
    subprocess.run([*command, "-p", "no:cacheprovider", "--junitxml", junit], cwd=ROOT, env=environment, check=False)
    seconds = round(time.monotonic() - start)
    if not junit.is_file():
        return {"passed": 0, "failed": ["pytest itself"], "skipped": 0, "seconds": seconds}
    cases = list(ElementTree.parse(junit).iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    names = sorted({f"{case.get('classname')}::{case.get('name')}" for case in failed})
    junit.unlink()
    return {
        "passed": len(cases) - len(failed) - len(skipped),
        "failed": names,
        "skipped": len(skipped),
        "seconds": seconds,
    }


def uv(*arguments: object) -> None:
    subprocess.run(["uv", *map(str, arguments)], check=True)


def last_results() -> dict[str, Any]:
    files = sorted(RESULTS.glob("*-versions.json"))
    found: dict[str, Any] = json.loads(files[-1].read_text()) if files else {}
    return found


def failures(result: Mapping[str, Any]) -> list[str]:
    return [name for tests in TESTS for name in result[tests]["failed"]]


def table(results: Mapping[str, Any]) -> list[str]:
    """Return the lines of a Markdown table, one for each version."""
    rows = [["", *SHOWN, *(f"{tests} tests" for tests in TESTS), "seconds"]]
    rows.append(["---"] * len(rows[0]))
    for name in filter(results.__contains__, NAMES):
        result = results[name]
        versions = {package: version.partition("+")[0] for package, version in result["versions"].items()}
        seconds = sum(result[tests]["seconds"] for tests in TESTS)
        rows.append([name, *versions.values(), *(outcome(result[tests]) for tests in TESTS), str(seconds)])
    return [f"| {' | '.join(row)} |" for row in rows]


def outcome(run: Mapping[str, Any]) -> str:
    counts = {"failed": len(run["failed"]), "passed": run["passed"], "skipped": run["skipped"]}
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)


def page(results: Mapping[str, Any]) -> str:
    """Return docs/versions.md."""
    failed = [f"- {name}: `{test}`" for name, result in results.items() for test in failures(result)]
    parts = [
        f"# Which versions work\n\n{INTRODUCTION}",
        "\n".join(table(results)),
        "\n".join(["Failed:", "", *failed]) if failed else "",
        "`tox -e versions` runs all of them again and writes this page.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


if __name__ == "__main__":
    sys.exit(main())
