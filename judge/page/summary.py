"""The summary of a run in Markdown, where GitHub Actions shows one."""

from __future__ import annotations

import os
from pathlib import Path

from . import grid
from .rendering import rendered
from .said import extent, sentence
from .verdicts import Document

VARIABLE = "GITHUB_STEP_SUMMARY"


def summary(document: Document) -> str:
    """Return the sentence, the grid and the first reproducer as Markdown."""
    verdicts = document["verdicts"]
    failures = [failure for verdict in verdicts for failure in (*verdict["failures"], *verdict["errors"])]
    first = next((failure for failure in failures if failure["reproducer"]), None)
    return rendered(
        "summary.md", sentence=sentence(verdicts), extent=extent(verdicts), grid=grid.rows(verdicts), first=first
    )


def append_summary(document: Document) -> str | None:
    """Append the summary to the file that `GITHUB_STEP_SUMMARY` names, if it is set.

    Returns:
        Why that cannot be done, in one line; None where it is done, or not asked for.
    """
    path = os.environ.get(VARIABLE)
    if not path:
        return None
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(summary(document))
    except OSError as error:
        return f"{VARIABLE} must be a file that can be written, got {path}: {error.strerror}"
    return None
