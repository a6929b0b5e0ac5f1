"""The files of verdicts of several runs, by seed, dtype or machine, as one file and one report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from . import verdicts
from .said import action, extent, sentence
from .summary import append_summary
from .verdicts import Document, NotVerdicts
from .writing import unwritable, write_report


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise NotVerdicts(message)


def merge(arguments: Sequence[str]) -> bool:
    """Join files of verdicts, write what is asked for, say what they come to together, and return whether it is right.

    Args:
        arguments: FILE... --report FOLDER --json FILE.

    Raises:
        NotVerdicts: they cannot be followed; the message is one line.
    """
    parser = _Parser(prog="rnn-parity merge", add_help=False, usage=argparse.SUPPRESS)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(list(arguments))
    _require(chosen)
    document = verdicts.merged([verdicts.read(path) for path in chosen.files])
    programs = {}
    if chosen.json is not None:
        _write_json(chosen.json, document)
    if chosen.report is not None:
        programs = write_report(chosen.report, document)
    for line in (*_lines(document), append_summary(document), action(document["verdicts"], programs)):
        if line:
            print(line)
    return verdicts.passed(document)


def _require(chosen: argparse.Namespace) -> None:
    if not chosen.files:
        raise NotVerdicts("expected files that --parity-json wrote, got none")
    if chosen.report is None and chosen.json is None:
        raise NotVerdicts("expected --report FOLDER, --json FILE or both, got neither")
    fault = unwritable(chosen.report) if chosen.report is not None else None
    if fault is not None:
        raise NotVerdicts(f"--report {fault}")


def _write_json(path: Path, document: Document) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        verdicts.write(path, document)
    except OSError as error:
        raise NotVerdicts(f"--json must be a file that can be written, got {path}: {error.strerror}") from error


def _lines(document: Document) -> list[str]:
    runs = verdicts.runs_of(document)
    seeds = ", ".join(dict.fromkeys(str(run["seed"]) for run in runs))
    differing = [f"{name}: {', '.join(values)}" for name, values in verdicts.differing(runs).items()]
    lines = [f"{len(runs)} runs, seeds {seeds}", *(f"the runs differ in {each}" for each in differing)]
    return [*lines, sentence(document["verdicts"]), extent(document["verdicts"])]
