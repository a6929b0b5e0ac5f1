"""Is a recurrent layer right, and is it fast?

rnn-parity judge gru=my_layers:MyGRU   judge the class MyGRU in my_layers.py, of this folder or installed
rnn-parity judge my_layers:MyGRU       the same: its name says which kind it is
rnn-parity judge                       judge the layers that this project has by hand
rnn-parity tasks                       list the tasks
rnn-parity tasks hello                 train one, with the built-in layer and the one by hand
rnn-parity bench --out times           time the layers side by side
rnn-parity gate --base origin/main     is this branch slower, dearer or less right than what it left?
rnn-parity history FILE --out times    draw what the gate measured, commit by commit
rnn-parity merge *.json --report all   join the verdicts of several runs; --json FILE writes them, too
rnn-parity --version                   print the version

`--help` after the name of a task, bench or gate lists its options. What follows the layers to judge is for pytest:

--parity-dtype float64                 judge in one precision of four; wrong equations show in this one
--parity-device cuda                   judge on one device; without it on all that are here
--parity-examples 200                  draw more cases; --parity-seed 1 draws others
--parity-interface                     judge names, initial values and errors too
--parity-json verdicts.json            write the verdicts
--parity-report parity                 write a page of them, parity/index.html, and programs that show what fails
-k "forward or packed"                 judge some aspects
-x                                     stop at the first fault
-n 2                                   use two processes, where pytest-xdist is installed

Exit status of judge and merge: 0 where the layers are right, 1 where one is wrong, 4 where the command cannot be
followed.
"""

import os
import re
import runpy
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from itertools import takewhile
from typing import Any

import pytest

KINDS = ("rnn", "gru", "lstm")
LAYER = re.compile(r"(?:(?P<kind>[^=:]*)=)?(?P<location>[^=:]+:[^=:]+)")


class UsageError(Exception):
    """What was expected and what came, in one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names, and return its exit status."""
    command, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        if command in COMMANDS:
            return COMMANDS[command](rest)
        if command in ("-h", "--help"):
            print(__doc__.strip())
        elif command == "--version":
            print(f"rnn-parity {version('rnn-parity')}")
        else:
            raise UsageError(f"expected {', '.join(COMMANDS)}, --help or --version, got {command!r}")
    except UsageError as error:
        print(f"rnn-parity: {error}", file=sys.stderr)
        return pytest.ExitCode.USAGE_ERROR
    return 0


def judge(arguments: Sequence[str]) -> int:
    """Run the conformance tests on the layers named, with what follows them as options of pytest."""
    if set(arguments) & {"-h", "--help"}:
        return main(["--help"])
    layers = list(takewhile(lambda argument: not argument.startswith("-"), arguments))
    named = [option for layer in layers for option in ("--parity-implementation", implementation(layer))]
    quiet = [
        "-q",
        "--parity-progress",
        "--no-header",
        "--tb=short",
        "-rN",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:benchmark",
        "-o",
        "addopts=",
    ]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder  # which is else .hypothesis, here
        sys.path.insert(0, os.getcwd())
        return pytest.main([*quiet, "--pyargs", "rnn_parity.tests.conformance", *named, *arguments[len(layers) :]])


def implementation(layer: str) -> str:
    """Return KIND=MODULE:ATTRIBUTE for a layer that may be named without its kind.

    Raises:
        UsageError: it is not named so, or its kind is left to guess.
    """
    found = LAYER.fullmatch(layer)
    if found is None:
        raise UsageError(f"expected [KIND=]MODULE:CLASS, such as gru=my_layers:MyGRU, got {layer!r}")
    if found["kind"] is not None:
        return layer
    from .core.candidate import kind_named  # with PyTorch, which the other commands need not wait for

    kind = kind_named(found["location"].partition(":")[2])
    if kind is None:
        raise UsageError(
            f"expected {' or '.join(f'{kind}={layer}' for kind in KINDS)}, got {layer!r}: of which kind is it?"
        )
    return f"{kind}={layer}"


def tasks(arguments: Sequence[str]) -> int:
    """List the tasks, or train the one that the first argument names."""
    names = package("rnn_parity.tasks").TASKS
    if not arguments or arguments[0] in ("-h", "--help"):
        return run("rnn_parity.tasks", ())
    name, *options = arguments
    if name not in names:
        raise UsageError(f"expected a task, one of {', '.join(names)}, got {name!r}")
    return run(f"rnn_parity.tasks.{name}", options)


def bench(arguments: Sequence[str]) -> int:
    """Time the layers."""
    package("rnn_parity.bench")
    return run("rnn_parity.bench.compare", arguments)


def gate(arguments: Sequence[str]) -> int:
    """Compare the working tree with the commit that its branch left."""
    package("rnn_parity.bench")
    status: int = import_module("rnn_parity.bench.gate.command").main(arguments)
    return status


def history(arguments: Sequence[str]) -> int:
    """Draw what the gate has measured, commit by commit."""
    package("rnn_parity.bench")
    status: int = import_module("rnn_parity.bench.history").main(arguments)
    return status


def merge(arguments: Sequence[str]) -> int:
    """Join files of verdicts into one report."""
    if set(arguments) & {"-h", "--help"}:
        return main(["--help"])
    from .page.merging import merge as joined
    from .page.verdicts import NotVerdicts

    try:
        return 0 if joined(arguments) else pytest.ExitCode.TESTS_FAILED
    except NotVerdicts as error:
        raise UsageError(f"merge: {error}") from error


def package(name: str) -> Any:
    """Return a package by name: the judge imports neither of those that need an extra.

    Raises:
        UsageError: what it needs is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(str(error)) from error


def run(module: str, arguments: Sequence[str]) -> int:
    """Run a module as `python -m` does."""
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


COMMANDS = {"judge": judge, "merge": merge, "tasks": tasks, "bench": bench, "gate": gate, "history": history}

if __name__ == "__main__":
    sys.exit(main())
