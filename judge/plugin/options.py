"""The options of the plugin, all of which start with --parity-."""

from __future__ import annotations

from pathlib import Path

import pytest


def add(parser: pytest.Parser) -> None:
    """Add the options."""
    option = parser.getgroup("parity", "judging recurrent layers (rnn-parity)").addoption
    # fmt: off
    option("--parity-implementation", metavar="KIND=MODULE:ATTRIBUTE", action="append", default=[],
           help="judge this layer, such as gru=my_pkg.layers:MyGRU; may be repeated (default: the manual layers)")
    option("--parity-device", metavar="DEVICE", action="append", default=[],
           help="judge on this device; may be repeated (default: cpu and, where there is one, cuda)")
    option("--parity-dtype", metavar="DTYPE", action="append", default=[],
           help="float64, float32, bfloat16 or float16; may be repeated (default: all four)")
    option("--parity-examples", metavar="N", type=int, help="cases for each trial (default: 50, half but in float64)")
    option("--parity-seed", metavar="N", type=int, default=0, help="which cases are drawn (default: 0)")
    option("--parity-json", metavar="FILE", type=Path, help="write the verdicts to FILE")
    option("--parity-report", metavar="FOLDER", type=Path,
           help="write a page of the verdicts, the verdicts, and reproducers that run, into FOLDER")
    option("--parity-progress", action="store_true",
           help="show how far the judging is on a terminal with -q, too; rnn-parity judge adds it")
    option("--parity-timeout", metavar="SECONDS", type=float, default=60.0,
           help="a layer that does not return for so long has hung (default: 60, and as much more past 256 steps)")
    option("--parity-memory", metavar="GIB", type=float, default=4.0,
           help="a layer that lets its process, or what it has of a GPU, grow by more is stopped (default: 4)")
    option("--parity-interface", action="store_true",
           help="judge names, initial values and errors of the implementations named, not only of the manual ones")
    # fmt: on


def check(config: pytest.Config) -> None:
    """Refuse what can be seen to be wrong without importing anything.

    Raises:
        pytest.UsageError: in one line.
    """
    option = config.option
    if option.parity_examples is not None and option.parity_examples < 1:
        raise pytest.UsageError(f"--parity-examples must be at least 1, got {option.parity_examples}")
    for name, value in (("timeout", option.parity_timeout), ("memory", option.parity_memory)):
        if not value > 0:
            raise pytest.UsageError(f"--parity-{name} must be more than 0, got {value:g}")
    if option.parity_json is not None:
        _require_writable(option.parity_json)
    if option.parity_report is not None:
        from ..page.writing import unwritable

        fault = unwritable(option.parity_report)
        if fault is not None:
            raise pytest.UsageError(f"--parity-report {fault}")


def _require_writable(path: Path) -> None:
    if path.is_dir():
        raise pytest.UsageError(f"--parity-json must be a file, got the folder {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a"):
            pass
    except OSError as error:
        raise pytest.UsageError(
            f"--parity-json must be a file that can be written, got {path}: {error.strerror}"
        ) from error
    if path.stat().st_size == 0:
        path.unlink()
