"""A folder with the report of a run: the page, the verdicts, and a file for each reproducer."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import grid
from .others import Others, found_in
from .rendering import rendered
from .said import command_line, extent, sentence
from .sections import sections
from .verdicts import Document, differing, passed, runs_of, write, write_whole

PROGRAM = "reproducer_{}.py"


def unwritable(folder: Path) -> str | None:
    """Return why a report cannot be written there, None where it can; the folder is made.

    Args:
        folder: that is asked for.
    """
    if folder.exists() and not folder.is_dir():
        return f"must be a folder, got the file {folder}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return f"must be a folder that can be written, got {folder}: {error.strerror}"


def programs_in(folder: Path, verdicts: Sequence[Mapping[str, Any]]) -> dict[str, Path]:
    """Return the file of each reproducer by its text, numbered as the verdicts come."""
    failures = [failure for verdict in verdicts for failure in (*verdict["failures"], *verdict["errors"])]
    texts = dict.fromkeys(failure["reproducer"] for failure in failures if failure["reproducer"])
    return {text: folder / PROGRAM.format(number) for number, text in enumerate(texts, 1)}


def write_report(folder: Path, document: Document) -> dict[str, Path]:
    """Write the page, the verdicts and the programs, each whole or not at all; what an earlier run left is replaced.

    Args:
        folder: to write to; it exists.
        document: the verdicts.

    Returns:
        The files of the reproducers, by their text.
    """
    programs = programs_in(folder, document["verdicts"])
    for earlier in set(folder.glob(PROGRAM.format("[0-9]*"))) - set(programs.values()):
        earlier.unlink()
    for text, path in programs.items():
        write_whole(path, rendered("reproducer.py", text=text, path=path, beside=_beside(folder)))
    write(folder / "verdicts.json", document)
    write_whole(folder / "index.html", page(document, programs, found_in(folder)))
    return programs


def page(document: Document, programs: Mapping[str, Path], found: Others) -> str:
    """Return the page of verdicts and of what else is known.

    Args:
        document: the verdicts.
        programs: the files of the reproducers, by their text.
        found: records of trainings, benchmarks and the like.
    """
    verdicts, runs = document["verdicts"], runs_of(document)
    return rendered(
        "page.html",
        sentence=sentence(verdicts),
        extent=extent(verdicts),
        passed=passed(document),
        grid=grid.rows(verdicts),
        records=grid.records(document, programs),
        histogram=grid.histogram(),
        sections=sections(found),
        runs=runs,
        differing=differing(runs),
        command=command_line(),
    )


def _beside(folder: Path) -> str:
    """Return the way from a program to the folder the run was started in, where its layer is imported from."""
    try:
        return os.path.relpath(Path.cwd(), folder)
    except ValueError:  # on another drive
        return str(Path.cwd())
